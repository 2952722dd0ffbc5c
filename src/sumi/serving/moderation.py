"""The policy at a server: texts and pictures are checked, and what needs a person goes into the review queue.

    text, picture in, picture out -> policy -> allow
                                            -> block     400 moderation_blocked
                                            -> review    400 moderation_review, and a row in the queue

What was approved passes when it is sent again; what was rejected is blocked from then on. A picture that is held back
is never shown as a black square: its job fails with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from PIL import Image

from sumi.imaging.pixels import from_image, to_image
from sumi.imaging.png import encode_png
from sumi.pipelines import Artist
from sumi.pipelines.policy import make_checkers
from sumi.serving.errors import ApiError, InvalidJobError, make_moderation_error
from sumi.store import Store
from sumi.trust.picture_checks import check_picture
from sumi.trust.policy import PLACES, Decision, load_policy

__all__ = ["HeldBackError", "Moderation"]

THUMBNAIL_PX = 256


class HeldBackError(InvalidJobError):
    """The policy holds a picture back.

    Attributes:
        code: moderation_blocked or moderation_review.
    """

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.code = error.code


class Moderation:
    """Checks what goes in and what comes out. Its calls read the database, so event loops make them in a thread."""

    def __init__(self, sumi: Artist, store: Store) -> None:
        self.policy, self.reviews = load_policy(), store.reviews
        self.checkers = make_checkers(sumi)

    def check_texts(self, key_id: str, moderation: str | None, *texts: str) -> None:
        """Check texts; ApiError where the policy holds one back.

        Args:
            key_id: who asks.
            moderation: "low" checks only the rules that apply everywhere, the hard ones among them.
            texts: the texts.
        """
        where = ("everywhere",) if moderation == "low" else PLACES
        for text in texts:
            digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
            self._act(key_id, "prompt", digest, self.policy.check_text(text, where), text)

    def check_pictures(self, key_id: str, side: str, images: Sequence[Image.Image]) -> None:
        """Check pictures; ApiError where a checker holds one back. side: input or output."""
        for image in images if self.checkers else ():
            straight = image.convert("RGBA")
            digest = hashlib.sha256(f"{image.size}".encode() + straight.tobytes()).hexdigest()
            self._act(key_id, side, digest, check_picture(image, side, self.checkers), "", straight)

    def _act(
        self, key_id: str, subject: str, digest: str, decision: Decision, text: str, image: Image.Image | None = None
    ) -> None:
        if decision.action == "allow":
            return
        if decision.action == "block":
            raise make_moderation_error(subject, decision)
        picture = None if image is None else encode_png(to_image(from_image(image, THUMBNAIL_PX)))
        review = self.reviews.submit(key_id, subject, digest, decision.to_json(), text, picture)
        if review.status == "rejected":
            raise make_moderation_error(subject, decision)
        if review.status == "pending":
            raise make_moderation_error(subject, decision, review.id)
