"""Search: words of a prompt, CLIP embeddings, and fingerprints.

    cosine_similarity(a, b) = a . b,    both of unit length, stored as float16

Words are compared without case, width or composition of their letters (NFKC, then case folding).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sumi.errors import SumiError

__all__ = ["cosine_similarity", "fold_words", "hamming_distance", "pack"]


def fold_words(words: str) -> str:
    """Return words in the form in which they are compared; NUL and half surrogate pairs are left out."""
    text = words.replace("\0", "").encode("utf-8", "ignore").decode()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def pack(embedding: Sequence[float]) -> bytes:
    """Return an embedding as it is stored: unit length, float16; SumiError for one without a direction."""
    return _unit(embedding).astype("<f2").tobytes()


def cosine_similarity(embedding: Sequence[float], packed: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the cosine between an embedding and each stored one, in [-1, 1]."""
    matrix = np.frombuffer(b"".join(packed), dtype="<f2").astype(np.float32).reshape(len(packed), -1)
    cosines: NDArray[np.float32] = matrix @ _unit(embedding)
    return cosines.clip(-1.0, 1.0)  # rounding to float16 may make a vector a little too long


def hamming_distance(fingerprint: bytes, stored: Sequence[bytes]) -> NDArray[np.int64]:
    """Return how many bits differ between a fingerprint and each stored one."""
    own = np.frombuffer(fingerprint, dtype=np.uint8)
    apart = np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(len(stored), -1) ^ own
    return np.asarray(np.unpackbits(apart, axis=1).sum(axis=1), np.int64)


def _unit(embedding: Sequence[float]) -> NDArray[np.float32]:
    vector = np.asarray(embedding, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(vector))
    if not 0 < length < float("inf"):
        raise SumiError("an embedding needs a direction: this one is zero, or holds NaN or infinity")
    return vector / np.float32(length)
