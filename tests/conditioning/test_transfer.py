"""A CLIP goes on with another vocabulary: shared words keep their embeddings wherever they stand."""

from __future__ import annotations

import torch

from sumi.conditioning import CLIP, WordTokenizer
from sumi.conditioning.transfer import transfer_weights


def clip(words: WordTokenizer) -> CLIP:
    text = {"context": 8, "width": 16, "depth": 1, "heads": 2, "vocabulary_size": words.size}
    image = {
        "in_channels": 4, "size_px": 16, "patch": 4, "channels": [8, 8], "blocks": [1, 1], "width": 16, "depth": 1,
        "heads": 2,
    }  # fmt: skip
    return CLIP(8, image, text)


def test_transferred_clip_reads_shared_words_and_letters_as_before() -> None:
    old, new = WordTokenizer(["cat", "fox", "red"], 8), WordTokenizer(["ant", "fox", "hat", "red"], 8)
    source, target = clip(old), clip(new)
    untrained = target.state_dict()["text.tokens.weight"].clone()
    transfer_weights(source, old, target, new)
    for prompt in ("red fox", 'fox "ab"', "zzz"):
        torch.testing.assert_close(
            target.encode_text(new.encode([prompt]))[0], source.encode_text(old.encode([prompt]))[0]
        )
    row = new.ids("ant")[0]
    assert torch.equal(target.state_dict()["text.tokens.weight"][row], untrained[row]), "a new word starts afresh"
    x = torch.rand(2, 4, 16, 16)
    torch.testing.assert_close(target.encode_image(x), source.encode_image(x))
