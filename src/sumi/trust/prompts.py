"""The policy for the words of a prompt: what OpenAI's moderation endpoint asks, and what every task refuses.

The lists and rules are in `policy.yaml`, and what is made of them is in `policy`. Scores are 0 or 1, because a list is
never in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sumi.errors import SumiError
from sumi.trust.policy import load_policy

__all__ = ["CATEGORIES", "NEVER", "ContentPolicyError", "ModerationResult", "check_words", "refuse_never"]

CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
"""The categories of OpenAI's moderation endpoint."""

NEVER: Final = ("sexual/minors", "hate/threatening", "self-harm/instructions", "illicit/violent")
"""The hard categories: no setting of the API, the command line, the studio or Python permits them."""


@dataclass(frozen=True)
class ModerationResult:
    """The policy's result for a text: a score in [0, 1] for each of `CATEGORIES`."""

    scores: Mapping[str, float]

    @property
    def categories(self) -> dict[str, bool]:
        """Whether each category is flagged."""
        return {name: score >= 0.5 for name, score in self.scores.items()}

    @property
    def never(self) -> bool:
        """Whether a category is flagged that no setting permits."""
        return any(self.categories[name] for name in NEVER)

    @property
    def flagged(self) -> bool:
        """Whether any category is flagged."""
        return any(self.categories.values())


def check_words(text: str) -> ModerationResult:
    """Check a text, any string, against the policy."""
    found = load_policy().check_text(text).categories
    return ModerationResult({name: float(name in found) for name in CATEGORIES})


class ContentPolicyError(SumiError):
    """The policy refuses a text or a picture.

    Attributes:
        categories: under which it falls.
        codes: the ids of the rules that say so.
    """

    def __init__(self, categories: Sequence[str], codes: Sequence[str] = (), what: str = "the words fall") -> None:
        super().__init__(f"Sumi does not draw this: {what} under {' and '.join(categories)}")
        self.categories, self.codes = tuple(categories), tuple(codes)


def refuse_never(*texts: str) -> None:
    """Raise ContentPolicyError where a rule that applies everywhere, so every hard one, blocks a text."""
    policy = load_policy()
    found = [one for text in texts for one in policy.check_text(text, ("everywhere",)).reasons]
    reasons = [one for one in found if one.action == "block"]
    if reasons:
        categories = tuple(dict.fromkeys(one.category for one in reasons))
        raise ContentPolicyError(categories, tuple(dict.fromkeys(one.code for one in reasons)))
