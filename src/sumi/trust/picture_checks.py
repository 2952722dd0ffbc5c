"""Checks of pictures: what goes in and what comes out is shown to every checker that the policy names.

    picture -> checkers -> reasons -> allow, review or block

A checker that fails, or answers with what is no reason, blocks the picture (`checker-failed`): it fails closed. A
picture that is held back is never replaced by a black square; its request ends with the reason.

A checker of another package is found by the entry point group `sumi.picture_checkers`: a name, and a function that
takes nothing and returns a `PictureChecker`. `concepts` asks CLIP, and `safety-checker` asks a local copy of Stable
Diffusion's safety checker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.errors import SumiError
from sumi.trust.policy import Decision, PictureConcept, Policy, Reason

__all__ = ["CHECKER_FAILED", "ConceptChecker", "PictureChecker", "check_picture", "find_checkers"]

GROUP: Final = "sumi.picture_checkers"
CHECKER_FAILED: Final = "checker-failed"
Embeddings = NDArray[np.float32]
log = logging.getLogger("sumi.trust")


class PictureChecker(Protocol):
    """Says what the policy should know of a picture."""

    def check(self, image: Image.Image, side: str) -> Sequence[Reason]:
        """Return the reasons to hold a picture back. side: input or output."""
        ...


@dataclass(frozen=True)
class ConceptChecker:
    """Finds the concepts of a policy with CLIP.

    margin = max over texts (cos) - max over unlike (cos),    found where margin > threshold

    Attributes:
        concepts: of the policy.
        embed_images: returns the embeddings of pictures, (N, D).
        embed_texts: returns the embeddings of texts, (N, D).
    """

    concepts: Sequence[PictureConcept]
    embed_images: Callable[[list[Image.Image]], Embeddings]
    embed_texts: Callable[[list[str]], Embeddings]

    def check(self, image: Image.Image, side: str) -> Sequence[Reason]:
        """Return a reason for each concept that is found."""
        wanted = [concept for concept in self.concepts if side in concept.sides]
        if not wanted:
            return ()
        picture = unit(self.embed_images([image]))[0]
        found = []
        for concept in wanted:
            margin = nearest(picture, self.embed_texts(list(concept.texts)))
            margin -= nearest(picture, self.embed_texts(list(concept.unlike))) if concept.unlike else 0.0
            if not np.isfinite(margin):
                raise ValueError("the picture has no direction in CLIP's space")
            if margin > concept.threshold:
                score = min(1.0, round(margin - concept.threshold, 4))
                found.append(Reason(concept.id, concept.category, concept.action, score))
        return found


def check_picture(image: Image.Image, side: str, checkers: Sequence[PictureChecker]) -> Decision:
    """Return what the checkers say about a picture; a checker that fails blocks it. side: input or output."""
    reasons: list[Reason] = []
    for checker in checkers:
        try:
            answer = tuple(checker.check(image, side))
            if not all(isinstance(one, Reason) and one.action in ("allow", "review", "block") for one in answer):
                raise TypeError(f"{type(checker).__name__} answered with what is no reason")
            reasons += [one for one in answer if one.action != "allow"]
        except Exception:
            log.exception("a checker of pictures failed; the picture is held back")
            reasons.append(Reason(CHECKER_FAILED, CHECKER_FAILED, "block"))
    return Decision(tuple(reasons))


def find_checkers(
    policy: Policy,
    embed_images: Callable[[list[Image.Image]], Embeddings] | None,
    embed_texts: Callable[[list[str]], Embeddings] | None,
) -> list[PictureChecker]:
    """Return the checkers that a policy names; the concepts need no name.

    Raises:
        SumiError: one is not installed, or the model has no CLIP to look for concepts with.
    """
    checkers: list[PictureChecker] = []
    if policy.concepts:
        if embed_images is None or embed_texts is None:
            raise SumiError("the policy looks for concepts in pictures, and this model has no CLIP to find them with")
        checkers.append(ConceptChecker(policy.concepts, embed_images, embed_texts))
    for name in policy.picture_checkers:
        if name == "safety-checker":
            from sumi.trust.safety_checker import load_safety_checker

            checkers.append(load_safety_checker())
            continue
        found = list(entry_points(group=GROUP, name=name))
        if not found:
            raise SumiError(f"the policy names the picture checker {name[:60]!r}, and no installed package brings it")
        checkers.append(found[0].load()())
    return checkers


def unit(vectors: Embeddings) -> Embeddings:
    """Return vectors of length 1."""
    matrix = np.asarray(vectors, np.float32)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=-1, keepdims=True), np.float32)


def nearest(vector: Embeddings, others: Embeddings) -> float:
    """Return the largest cosine between a vector of length 1 and others."""
    return float((unit(others) @ vector).max())
