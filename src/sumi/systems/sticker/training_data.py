"""What a run of `sumi train sticker` teaches: its drawings, pools of scenes, captions and words.

Every product is a file of the run's folder, made once, and made again only if its inputs change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sumi.bundles import Bundle
from sumi.conditioning import WordTokenizer
from sumi.data.artwork import ARTISTS
from sumi.data.atlas import Atlas, open_vocabulary
from sumi.data.generator import Mix, Scenes
from sumi.data.layout_captions import layout_caption
from sumi.data.pool import Pool, fill_pool
from sumi.data.scene import KINDS
from sumi.data.vocabulary import Vocabulary
from sumi.errors import SumiError
from sumi.systems.objectives import Arrays
from sumi.systems.sticker.presets import Preset
from sumi.systems.unclip.layout_objective import encode_layout_captions

__all__ = ["BRIEFS_SEED", "StickerData", "shown_alone"]

Progress = Callable[[str, int, int], None]

BRIEFS_SEED = 2
"""Added to a preset's seed, it is the seed of the scenes whose captions the layout planner learns from."""

CONTRASTS_SEED = 3
"""Added to a preset's seed, it is the seed of the scenes that CLIP learns from in groups."""


class StickerData:
    """What one run teaches, in `folder`, made from the artwork in `artwork`.

    start: a model to go on from, whose words serve where CLIP is not trained anew. artists: whose drawings are learned
    from; a share-alike set is named here, and in no preset.
    """

    def __init__(
        self,
        preset: Preset,
        artwork: Path,
        folder: Path,
        device: str | torch.device = "cpu",
        progress: Progress = lambda what, done, of: None,
        start: Bundle | None = None,
        artists: Sequence[str] = ARTISTS,
    ) -> None:
        if set(artists) != set(ARTISTS) and preset.vocabulary != "wide":
            raise SumiError(
                f"the vocabulary of the preset {preset.name} has artists of its own: a further one needs a preset of "
                "the wide vocabulary, such as wide"
            )
        self.start, self.artists = start, artists
        self.preset, self.artwork, self.folder = preset, Path(artwork), Path(folder)
        self.device, self.progress = torch.device(device), progress
        self.training: set[str] = set()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The concepts of the preset, as far as the artwork has them."""
        return self._opened[0]

    @cached_property
    def atlas(self) -> Atlas:
        """Every drawing of them."""
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Vocabulary, Atlas]:
        return open_vocabulary(self.preset.vocabulary, self.artwork, partial(self.progress, "atlas"), self.artists)

    def scenes(self, mix: Mix, seed: int, group: int = 1) -> Scenes:
        """Numbered training scenes."""
        varied = self.preset.augmentation
        return Scenes(self.atlas, self.vocabulary, mix, seed, device=self.device, augmentation=varied, group=group)

    @cached_property
    def pool(self) -> Pool:
        """Scenes at 64 px with their captions, for every stage but the last."""
        scenes = self.scenes(self.preset.mix, self.preset.seed)
        return fill_pool(scenes, self.preset.num_scenes, [64], self.folder / "scenes", partial(self.progress, "scenes"))

    @cached_property
    def contrasts(self) -> Pool:
        """Scenes at 64 px, each with its contrasts, for CLIP; the pool of the other stages where there are none."""
        if self.preset.contrasts is None:
            return self.pool
        scenes = self.scenes(self.preset.contrasts, self.preset.seed + CONTRASTS_SEED, self.preset.group)
        report = partial(self.progress, "contrasts")
        return fill_pool(scenes, self.preset.num_contrasts, [64], self.folder / "contrasts", report)

    @cached_property
    def pairs(self) -> Pool:
        """Scenes at 64 and 256 px of everything that was drawn, for the upsampler, which needs no words."""
        vocabulary, atlas = open_vocabulary(
            self.preset.drawings, self.artwork, partial(self.progress, "atlas"), self.artists
        )
        atlas.draw(progress=partial(self.progress, "large drawings"))
        scenes = Scenes(atlas, vocabulary, self.preset.mix, self.preset.seed + 1, device=self.device)
        report = partial(self.progress, "pairs")
        return fill_pool(scenes, self.preset.num_pairs, [64, 256], self.folder / "pairs", report)

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """Every word that the captions use, fixed once; that of the model we start from where its CLIP serves."""
        path = self.folder / "tokenizer.json"
        if not path.exists():
            if self.start is not None and "clip" not in self.training:
                return self._start_tokenizer
            context = int(self.preset.networks["clip"]["text"]["context"])
            captions = self.pool.captions
            captions = captions if self.contrasts is self.pool else [*captions, *self.contrasts.captions]
            words = WordTokenizer.learn(captions, context)
            path.write_text(json.dumps(words.config), "utf-8")
        return WordTokenizer(**json.loads(path.read_text("utf-8")))

    @property
    def _start_tokenizer(self) -> WordTokenizer:
        assert self.start is not None
        tokenizer = self.start.tokenizer()
        assert isinstance(tokenizer, WordTokenizer)
        return tokenizer

    @cached_property
    def ids(self) -> Any:
        """Token ids of the pool's captions, int16 (N, context)."""
        return self._encoded("ids", self.pool)

    def _encoded(self, name: str, pool: Pool) -> Any:
        path = self.folder / f"{name}.npy"
        if not path.exists() or len(np.load(path, mmap_mode="r")) != len(pool):
            np.save(path, self.tokenizer.encode(pool.captions).numpy().astype(np.int16))
        return np.load(path, mmap_mode="r")

    @cached_property
    def briefs(self) -> tuple[Any, Any]:
        """Captions and arrangements as ids, int16 (N, context) and (N, length), of scenes that nobody draws."""
        paths = [self.folder / f"briefs-{name}.npy" for name in ("captions", "arrangements")]
        if not all(path.exists() for path in paths):
            scenes, count = self.scenes(self.preset.briefs, self.preset.seed + BRIEFS_SEED), self.preset.num_briefs
            self.progress("briefs", 0, count)
            told = (layout_caption(scenes, number) for number in range(count))
            made = encode_layout_captions(told, self.tokenizer, self.preset.networks["layout_planner"]["length"])
            self.folder.mkdir(parents=True, exist_ok=True)
            for path, rows in zip(paths, made, strict=True):
                np.save(path, rows)
        captions, arrangements = (np.load(path, mmap_mode="r") for path in paths)
        return captions, arrangements


def shown_alone(pool: Pool) -> Arrays:
    """Return the concept of each picture of one thing or one person (N,), and -1 for the others."""
    alone = np.isin(pool.kinds, [KINDS.index("single"), KINDS.index("person")])
    return np.where(alone, pool.concept_ids, -1)
