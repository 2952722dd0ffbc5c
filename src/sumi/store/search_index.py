"""What a picture is found by: the words of its prompt, and what CLIP sees in it.

    nearness(a, b) = a . b,    both of unit length, kept as float16

Words are compared without case, width or composition of their letters (NFKC, then case folded).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sumi.errors import SumiError

__all__ = ["cosine_similarity", "fold_words", "pack"]


def fold_words(words: str) -> str:
    """Words as they are compared; what is no text (NUL, half a surrogate pair) is left out."""
    text = words.replace("\0", "").encode("utf-8", "ignore").decode()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def pack(embedding: Sequence[float]) -> bytes:
    """An embedding as it is kept: unit length, float16; SumiError for one without a direction."""
    return _unit(embedding).astype("<f2").tobytes()


def cosine_similarity(embedding: Sequence[float], kept: Sequence[bytes]) -> NDArray[np.float32]:
    """The cosine between one embedding and each that was kept, in [-1, 1]; all of them have its size."""
    matrix = np.frombuffer(b"".join(kept), dtype="<f2").astype(np.float32).reshape(len(kept), -1)
    cosines: NDArray[np.float32] = matrix @ _unit(embedding)
    return cosines.clip(-1.0, 1.0)  # what was rounded to float16 may be a little too long


def _unit(embedding: Sequence[float]) -> NDArray[np.float32]:
    vector = np.asarray(embedding, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(vector))
    if not 0 < length < float("inf"):
        raise SumiError("an embedding must have a direction: it holds only zeros, or a number that is none")
    return vector / np.float32(length)
