"""The one error a person is meant to read: what was wrong and what would be right, in one line.

Whatever raises SumiError has found the fault in what it was given (a prompt, a file, a folder, a setting),
not in the code. The command line prints it as `error: ...` and exits with status 2; every other exception
is a bug and keeps its traceback.
"""

from __future__ import annotations

__all__ = ["SumiError"]


class SumiError(Exception):
    """Something a person gave cannot be used; the message says what was wrong and what would be right."""
