"""What may be drawn, and what is said about it: a policy for prompts, small and plain enough to be read whole."""

from sumi.trust.prompts import CATEGORIES, NEVER, ContentPolicyError, ModerationResult, check_words, refuse_never

__all__ = ["CATEGORIES", "NEVER", "ContentPolicyError", "ModerationResult", "check_words", "refuse_never"]
