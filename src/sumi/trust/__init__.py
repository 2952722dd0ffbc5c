"""Policy: which prompts may be drawn. It is small and plain enough to be read as a whole."""

from sumi.trust.prompts import CATEGORIES, NEVER, ContentPolicyError, ModerationResult, check_words, refuse_never

__all__ = ["CATEGORIES", "NEVER", "ContentPolicyError", "ModerationResult", "check_words", "refuse_never"]
