"""Transfer of a trained CLIP to a tokenizer with other words: the words that both know keep their embeddings."""

from __future__ import annotations

import torch

from sumi.conditioning.clip import CLIP
from sumi.conditioning.tokenizer import FIRST_WORD, WordTokenizer

__all__ = ["same_towers", "transfer_weights"]

_EMBEDDINGS = "text.tokens.weight"


def same_towers(one: CLIP, other: CLIP) -> bool:
    """Return whether two CLIPs differ in their vocabulary at most, so that `transfer_weights` can be called."""
    texts = [{**clip.config["text"], "vocabulary_size": 0} for clip in (one, other)]
    return {**one.config, "text": texts[0]} == {**other.config, "text": texts[1]}


@torch.no_grad()
def transfer_weights(source: CLIP, source_words: WordTokenizer, target: CLIP, target_words: WordTokenizer) -> None:
    """Copy the weights of a trained CLIP into one with another vocabulary; new words keep their random embeddings.

    Args:
        source: the trained CLIP.
        source_words: its tokenizer.
        target: the CLIP to fill; only its vocabulary may differ in size.
        target_words: its tokenizer.
    """
    weights = dict(source.state_dict())
    trained, fresh = weights[_EMBEDDINGS], target.state_dict()[_EMBEDDINGS].clone()
    fresh[:FIRST_WORD] = trained[:FIRST_WORD]
    row_of = {word: FIRST_WORD + number for number, word in enumerate(source_words.words)}
    for number, word in enumerate(target_words.words):
        if word in row_of:
            fresh[FIRST_WORD + number] = trained[row_of[word]]
    target.load_state_dict(weights | {_EMBEDDINGS: fresh})
