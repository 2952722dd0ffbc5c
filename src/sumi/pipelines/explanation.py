"""Explanations of a picture: the effect of each word of its prompt, and the nearest training drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from sumi.pipelines.short_repr import short_repr

__all__ = ["Drawings", "Explanation", "Neighbor", "WordAttribution"]


class WordAttribution(NamedTuple):
    """A word of a prompt, and what it did.

    share: of all that the words changed, 0 to 1. change: where and how much, (S, S), in shares of a channel's range, 0
    to 1. without: the picture that is drawn without it, premultiplied uint8 (4, S, S).
    """

    text: str
    share: float
    change: Tensor
    without: Tensor

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)


@dataclass(frozen=True)
class Explanation:
    """A picture, premultiplied uint8 (4, S, S), as small as it was drawn, and the words that drew it, in order."""

    __repr__ = short_repr

    prompt: str
    seed: int
    picture: Tensor
    words: tuple[WordAttribution, ...]

    @property
    def peak(self) -> float:
        """The largest change that any word made anywhere: one scale for all maps."""
        return max((float(word.change.max()) for word in self.words), default=0.0)


class Drawings(Protocol):
    """What a model was taught with.

    embeddings: CLIP's of each, unit, (N, D). pictures: each as `aligned` gives it, uint8 (N, 4, S, S). rows: what each
    shows and whose it is: concept, person, icon, source, version, licence, author, url.
    """

    @property
    def embeddings(self) -> Tensor: ...  # noqa: D102

    @property
    def pictures(self) -> Tensor: ...  # noqa: D102

    @property
    def rows(self) -> Sequence[Any]: ...  # noqa: D102


class Neighbor(NamedTuple):
    """A drawing and how near it is to a picture. picture: premultiplied uint8 (4, S, S)."""

    row: Any
    cosine: float
    distance: float
    picture: Tensor

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)
