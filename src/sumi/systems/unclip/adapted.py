"""An unCLIP with adapters: its networks copied and changed, its tokenizer and vocabulary with the new words.

    embedding of a new word = stand-in + weight (learned - stand-in)
    W = W + sum over adapters of weight · alpha / rank · up down

An adapter acts where its word is: rows of a batch that do not name it are drawn by the unchanged networks, so other
things, alone or as layers of the same picture, come out the same to the bit.

The layout planner has no row for a new word. It plans the prompt with a taught thing in the word's place, one that the
prompt does not name, and the layers then say the new word again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sumi.bundles import Adapter, Bundle
from sumi.bundles.device import keep_on
from sumi.conditioning import CLIP, Lexicon, WordTokenizer
from sumi.diffusion import Denoiser
from sumi.errors import SumiError
from sumi.nn import Cond, add_embeddings
from sumi.pipelines import DiffusionPrior, EncodedText, Prior, UnCLIPPipeline
from sumi.pipelines.layered_image import Arrange, Composition, LayerSpec
from sumi.pipelines.steps import Work, run_side_by_side
from sumi.systems.unclip.new_word import NewWord, StandIn, extend_record, extend_tokenizer, stand_ins

__all__ = ["AdaptedPipeline", "Extended", "StandInPlanner", "extend", "merge_adapters"]

CHANGED = ("clip", "prior", "decoder")
"""The parts that an adapter may change, and the codec whose latents it was taught in, name its base."""


@dataclass(frozen=True)
class Extended:
    """A model with new words.

    Attributes:
        parts: of the model; those of `CHANGED` are copies, on the CPU.
        tokenizer, record: its tokenizer and its vocabulary, with the new words.
        words: the new words, and planned_as: for each the taught things that may take its place in a layout.
    """

    parts: Mapping[str, nn.Module]
    tokenizer: WordTokenizer
    record: Mapping[str, Any]
    words: tuple[NewWord, ...]
    planned_as: tuple[tuple[StandIn, ...], ...]

    @property
    def clip(self) -> CLIP:
        """Its CLIP, whose last token embeddings are those of the new words."""
        clip = self.parts["clip"]
        assert isinstance(clip, CLIP)
        return clip

    @property
    def lexicon(self) -> Lexicon:
        """What it understands."""
        return Lexicon.of_record(self.record)


def extend(
    bundle: Bundle, tokenizer: WordTokenizer, words: Sequence[NewWord], kinds: Sequence[str], learned: Tensor | None
) -> Extended:
    """Return the model of a bundle with new words.

    Args:
        bundle: the model.
        tokenizer: of the model.
        words: the new words.
        kinds: the stand-in of each.
        learned: the embeddings of their forms, (2 · words, width); by default those of the stand-ins.

    Raises:
        SumiError: the bundle is no unCLIP with these parts, or knows a word already.
    """
    if not isinstance(bundle.part("clip"), CLIP) or "decoder" not in bundle.parts:
        raise SumiError(f"{bundle.name} has no CLIP and decoder of Sumi's, which can be taught")
    parts = {name: bundle.copy_part(name) if name in CHANGED else bundle.part(name) for name in bundle.parts}
    clip = parts["clip"]
    assert isinstance(clip, CLIP)
    taught = stand_ins(Lexicon.of_record(bundle.vocabulary), tokenizer)
    by_name = {one.thing: one for one in taught}
    if missing := [kind for kind in kinds if kind not in by_name]:
        raise SumiError(f"the model {bundle.name} was not taught {missing[0]!r}, for which the new word would stand")
    rows = embedding_rows(clip, [by_name[kind] for kind in kinds])
    clip.text.tokens = add_embeddings(clip.text.tokens, rows if learned is None else learned)
    for config in (clip.text.config, clip.config["text"]):
        config["vocabulary_size"] = clip.text.tokens.num_embeddings
    return Extended(
        parts,
        extend_tokenizer(tokenizer, words),
        extend_record(bundle.vocabulary, words),
        tuple(words),
        tuple(_alike(word, by_name[kind], taught) for word, kind in zip(words, kinds, strict=True)),
    )


def embedding_rows(clip: CLIP, things: Sequence[StandIn]) -> Tensor:
    """Return the token embeddings of taught things, singular and plural in turn, (2 · things, width)."""
    return clip.text.tokens.weight[[own for thing in things for own in (thing.one, thing.several)]].detach().clone()


def merge_adapters(bundle: Bundle, tokenizer: WordTokenizer, chosen: Sequence[tuple[Adapter, float]]) -> Extended:
    """Return the model of a bundle with adapters merged, each with its weight; SumiError for one of another base."""
    for adapter, _ in chosen:
        adapter.check_base(bundle.hashes, bundle.name)
    records = [adapter.record for adapter, _ in chosen]
    words = [NewWord(record.word, record.plural, record.concept) for record in records]
    made = extend(bundle, tokenizer, words, [record.stand_in for record in records], None)
    table = made.clip.text.tokens.weight
    for number, (adapter, weight) in enumerate(chosen):
        first = len(table) - 2 * len(chosen) + 2 * number
        place = table[first : first + 2]
        if adapter.words.shape != place.shape:
            raise SumiError(f"{adapter.path}: its words do not fit this model's text tower")
        with torch.no_grad():
            place.lerp_(adapter.words, weight)
        for part in adapter.parts:
            if part not in made.parts or part not in CHANGED:
                raise SumiError(f"{adapter.path} changes {part}, which cannot be changed in this model")
            adapter.merge(part, made.parts[part], weight)
    kept = {name: keep_on(part, bundle.device) if name in CHANGED else part for name, part in made.parts.items()}
    return replace(made, parts=kept)


def _alike(word: NewWord, first: StandIn, taught: Sequence[StandIn]) -> tuple[StandIn, ...]:
    """The stand-in, and others that take the same article as the word."""
    vowel = word.word[0] in "aeiou"
    others = [one for one in taught if (one.thing[0] in "aeiou") == vowel and one != first]
    return (first, *others) if (first.thing[0] in "aeiou") == vowel else (*others, first)


@dataclass(frozen=True)
class StandInPlanner:
    """A layout planner that plans new words as taught things.

    planner: of the model. clip, tokenizer: with the new words. words, planned_as: as in `Extended`.
    """

    planner: Arrange
    clip: CLIP
    tokenizer: WordTokenizer
    words: tuple[NewWord, ...]
    planned_as: tuple[tuple[StandIn, ...], ...]

    @torch.no_grad()
    def __call__(self, text: EncodedText, seeds: Sequence[int]) -> list[Composition]:
        """Return the composition of each picture of a text."""
        each = text.each(len(seeds))
        swaps = [self._swaps(row) for row in each.ids.tolist()]
        if not any(swaps):
            return self.planner(each, seeds)
        rows = [[swap.get(own, own) for own in row] for swap, row in zip(swaps, each.ids.tolist(), strict=True)]
        ids = torch.tensor(rows, dtype=each.ids.dtype)
        planned = self.planner(EncodedText(*self.clip.encode_text(ids), ids), seeds)
        return [self._restore(one, swap) for one, swap in zip(planned, swaps, strict=True)]

    def _swaps(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the tokens of new words in a prompt, each with that of the thing that takes its place."""
        used, swaps, first = set(ids), dict[int, int](), self.tokenizer.size - 2 * len(self.words)
        for number, things in enumerate(self.planned_as):
            one, several = first + 2 * number, first + 2 * number + 1
            if not used & {one, several}:
                continue
            thing = next((thing for thing in things if not used & {thing.one, thing.several}), things[0])
            used |= {thing.one, thing.several}
            swaps |= {one: thing.one, several: thing.several}
        return swaps

    def _restore(self, composition: Composition, swaps: Mapping[int, int]) -> Composition:
        names = {self.tokenizer.text([place]): self.tokenizer.text([own]) for own, place in swaps.items()}
        layers = [
            LayerSpec(" ".join(names.get(word, word) for word in layer.prompt.split(" ")), layer.spots)
            for layer in composition.layers
        ]
        return replace(composition, layers=tuple(layers))


@dataclass(frozen=True, repr=False)
class AdaptedPipeline(UnCLIPPipeline):
    """A pipeline with changed networks, which draw only the rows of a text that name a new word.

    plain: the unchanged denoisers, by the names of their stages. first_new: the id of the first new word; 0 where every
    row is drawn by the changed networks.
    """

    plain: Mapping[str, Denoiser[Cond]] = field(default_factory=dict)
    first_new: int = 0

    def sample_prior(self, text: EncodedText, seeds: Sequence[int], stream: str | None = None) -> Work[Tensor]:
        """Draw z_i as every pipeline does, for some rows with the unchanged prior."""

        def some(pipeline: AdaptedPipeline, rows: Sequence[int]) -> Work[list[Tensor]]:
            drawn = yield from UnCLIPPipeline.sample_prior(pipeline, text.pick(rows), [seeds[k] for k in rows], stream)
            return list(drawn)

        return torch.stack((yield from self._by_word(text, some)))

    def sample_decoder(
        self, text: EncodedText, z_i: Tensor, seeds: Sequence[int], level: int = 0, x: Tensor | None = None
    ) -> Work[list[Tensor]]:
        """Draw small pictures as every pipeline does, for some rows with the unchanged decoder."""

        def some(pipeline: AdaptedPipeline, rows: Sequence[int]) -> Work[list[Tensor]]:
            own, start = [seeds[k] for k in rows], None if x is None else x[list(rows)]
            return UnCLIPPipeline.sample_decoder(pipeline, text.pick(rows), z_i[list(rows)], own, level, start)

        return (yield from self._by_word(text, some))

    def _by_word(
        self, text: EncodedText, draw: Callable[[AdaptedPipeline, Sequence[int]], Work[list[Tensor]]]
    ) -> Work[list[Tensor]]:
        """Return what is drawn of every row: of those with a new word by the changed networks, of the others not."""
        names_it = (text.ids >= self.first_new).any(dim=1).tolist()
        groups = [[row for row, new in enumerate(names_it) if new is wanted] for wanted in (True, False)]
        pipelines = (replace(self, first_new=0), self._unchanged())
        works = [draw(pipeline, rows) for pipeline, rows in zip(pipelines, groups, strict=True) if rows]
        drawn = iter([one for part in (yield from run_side_by_side(works)) for one in part])
        placed = {row: next(drawn) for rows in groups for row in rows}
        return [placed[row] for row in range(len(names_it))]

    def _unchanged(self) -> AdaptedPipeline:
        """Return the pipeline with the unchanged networks."""
        priors: dict[str, Prior] = {
            kind: DiffusionPrior(replace(prior.stage, denoiser=self.plain[prior.name]))
            if isinstance(prior, DiffusionPrior)
            else prior
            for kind, prior in self.priors.items()
        }
        decoder = replace(self.decoder, denoiser=self.plain[self.decoder.name])
        return replace(self, priors=priors, decoder=decoder, first_new=0)
