"""The one exception for users: one line that says what was wrong and what would be right.

`SumiError` means that the input is at fault (a prompt, a file, a folder, a setting) and not the code. The command line
prints it as `error: ...` and exits with status 2. Every other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

__all__ = ["SumiError"]


class SumiError(Exception):
    """The input cannot be used; the message says what was wrong and what would be right."""
