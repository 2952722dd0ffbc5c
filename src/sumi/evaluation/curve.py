"""Quick figures while a decoder still learns, even before there is a prior.

Without a prior somebody else has to imagine the embedding: zeros (the decoder reads the words alone), or the
embedding of a true picture of the thing (what a perfect prior would say).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sumi.data.generator import Mix, Scenes
from sumi.data.grammar import noun_phrase
from sumi.data.scene import Scene
from sumi.evaluation.exam import Draw, at_judged_size, examine
from sumi.evaluation.questions import SEED, Syllabus
from sumi.imaging.pixels import from_levels, to_levels
from sumi.judge.network import SIZE_PX, Judge
from sumi.pipelines import EncodedText, Stage, picture_and_words, run
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import drive_to_end

Imagine = Callable[[Sequence[str]], Tensor]
"""Prompts -> embeddings z_i (B, D)."""


def score_decoder(draw: Draw, judge: Judge, syllabus: Syllabus, n: int = 64, seed: int = SEED) -> dict[str, float]:
    """Return quick figures for a curve over training time: single things only, in [0, 1]."""
    result = examine(draw, judge, syllabus, ("single",), n, seed, batch=32)
    return {name.removeprefix("single: "): share.value for name, share in result.rows}


def decoder_drawer(read: Callable[[Sequence[str]], EncodedText], decoder: Stage, imagine: Imagine) -> Draw:
    """Return how a decoder draws alone, before there is a prior: `imagine` gives z_i (B, D) for prompts."""

    @torch.no_grad()
    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        cond = picture_and_words(read([clean(prompt) for prompt in prompts]), imagine(prompts))
        return at_judged_size(to_levels(decoder.decode(drive_to_end(run(decoder, cond, seeds)))))

    return draw


@torch.no_grad()
def true_embeddings(see: Callable[[Tensor], Tensor], scenes: Scenes, seed: int = SEED) -> Imagine:
    """Return the imagining of a perfect prior, for prompts of single things: the embedding of one true picture each.

    see: pictures (B, 4, 64, 64) in [-1, 1] to embeddings. scenes: of what was taught.
    """
    source = Scenes(scenes.atlas, scenes.vocabulary, Mix.singles(), seed)
    shown: dict[str, Scene] = {}
    for number in range(30 * len(scenes.vocabulary)):
        scene = source.scene(number)
        shown.setdefault(noun_phrase(scene.things[0].concept, []), scene)
    places = {prompt: number for number, prompt in enumerate(shown)}
    pictures = from_levels(source.render(list(shown.values()), SIZE_PX))
    embeddings = torch.cat([see(batch) for batch in torch.split(pictures, 64)])
    return lambda prompts: embeddings[[places[prompt] for prompt in prompts]]
