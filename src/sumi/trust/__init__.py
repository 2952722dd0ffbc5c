"""Trust: which prompts may be drawn, and marks by which a picture is known later.

`prompts` is the policy for words. `certificate`, `credentials` and `iptc` mark a file: who drew it, from what.
"""

from sumi.trust.prompts import CATEGORIES, NEVER, ContentPolicyError, ModerationResult, check_words, refuse_never

__all__ = ["CATEGORIES", "NEVER", "ContentPolicyError", "ModerationResult", "check_words", "refuse_never"]
