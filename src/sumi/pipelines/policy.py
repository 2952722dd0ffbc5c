"""The policy where there is no server: what Python and the command line draw, and what a person hands in.

A server has a review queue, and here there is nobody to decide. So what a rule wants reviewed is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sumi.pipelines.events import Event, Picture
from sumi.pipelines.request import Task
from sumi.pipelines.signing import add_origin
from sumi.trust import ContentPolicyError
from sumi.trust.picture_checks import PictureChecker, check_picture, find_checkers
from sumi.trust.policy import Decision, load_policy

if TYPE_CHECKING:
    from sumi.pipelines.artist import Artist

__all__ = ["hand_out", "make_checkers"]


def hand_out(
    events: Iterable[Event], artist: Artist, tasks: Sequence[Task], pictures: Sequence[Any]
) -> Iterator[Event]:
    """Yield the events of tasks: each picture is checked and knows what it was made from.

    Args:
        events: of the tasks.
        artist: the model.
        tasks: what is drawn.
        pictures: those that the tasks start from.

    Raises:
        ContentPolicyError: the policy holds back a text, a picture that a task starts from, or one that was drawn.
    """
    from sumi.pipelines.picturelike import as_image

    policy = load_policy()
    for text in dict.fromkeys(text for task in tasks for text in task.drawn_texts()):
        refuse_held(policy.check_text(text, ("everywhere",)), "the words fall")
    checkers = make_checkers(artist)
    for picture in pictures if checkers else ():
        refuse_held(check_picture(as_image(picture), "input", checkers), "the picture to start from falls")
    for event in add_origin(events, artist.model.rights, pictures):
        if checkers and isinstance(event, Picture):
            refuse_held(check_picture(event.image, "output", checkers), "the picture that was drawn falls")
        yield event


def make_checkers(artist: Artist) -> list[PictureChecker]:
    """Return the checkers that the policy names, with the model's CLIP for its concepts."""

    def embed_images(images: list[Image.Image]) -> NDArray[np.float32]:
        return np.asarray(artist.embed_images(images).numpy(), np.float32)

    def embed_texts(texts: list[str]) -> NDArray[np.float32]:
        return np.asarray(artist.embed_texts(texts).numpy(), np.float32)

    has_clip = artist.embeds_with is not None
    return find_checkers(load_policy(), embed_images if has_clip else None, embed_texts if has_clip else None)


def refuse_held(decision: Decision, what: str) -> None:
    """Raise ContentPolicyError unless the policy allows it."""
    if decision.action != "allow":
        raise ContentPolicyError(decision.categories, [one.code for one in decision.reasons], what)
