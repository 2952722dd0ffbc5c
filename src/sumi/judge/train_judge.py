"""How the judge is made: scenes of its own, a few minutes of training, and a folder to load it from.

    artwork -> atlas -> two pools of scenes (what models are taught; what is held out from them) -> judge

No model is trained on scenes of its seed. It also sees the held-out combinations: a judge that knew only the taught
ones would favour them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sumi.data.atlas import Atlas, open_vocabulary
from sumi.data.generator import Mix, Scenes
from sumi.data.pool import Pool, fill_pool
from sumi.data.scene import COLOURS, STYLES
from sumi.data.vocabulary import Vocabulary
from sumi.judge.network import SIZE_PX, Judge, save_judge
from sumi.judge.objective import JudgeObjective, SceneLabels
from sumi.training import TrainConfig, load_ema, train_stage

__all__ = ["JUDGE_SEED", "JudgeTraining"]

#: The seed of its training scenes; the next seed gives the scenes of its exam.
JUDGE_SEED = 40_961
#: The share of scenes with a combination that is held out from the training of models.
HELD_OUT = 0.3

Progress = Callable[[str, int, int], None]

MIX = Mix(
    single=0.59, pair=0.28, count=0.08, accessory=0.02, word=0, bongard=0, person=0.03,
    plain=0.27, single_coloured=0.48, single_styled=0.15, single_background=0.10,
    extra=0.12, coloured=0.35, background=0.12, styled=0.08, sized=0.08, named_hand=0, three=0.08,
)  # fmt: skip

PLAN = TrainConfig(
    num_steps=5_000, batch_size=64, lr=3e-3, warmup_steps=100, decay_fraction=0.6, weight_decay=0.05,
    ema=0.995, seed=JUDGE_SEED, checkpoint_s=60,
)  # fmt: skip


SIZES: dict[str, Any] = {"channels": (96, 192, 384), "blocks": (2, 2, 1), "features": 512}
"""Of a judge's network: it has to tell more than a thousand concepts apart."""


@dataclass(frozen=True)
class JudgeTraining:
    """The training of a judge.

    Args:
        artwork: the folder of the artwork.
        folder: the folder of the run.
        concepts: one of VOCABULARIES, or the concepts of a model or of a trained judge, where their scenes are wanted.
        num_scenes: how many scenes to render before training.
        progress: called with (what, done, all) while preparing.
    """

    artwork: Path
    folder: Path
    concepts: str | Sequence[str] = "everyday"
    num_scenes: int = 72_000
    progress: Progress = lambda what, done, of: None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every concept that a model may be taught."""
        return self._opened[0]

    @cached_property
    def atlas(self) -> Atlas:
        """The atlas of every drawing."""
        return self._opened[1]

    @cached_property
    def _opened(self) -> tuple[Vocabulary, Atlas]:
        report: Callable[[int, int], None] = lambda done, of: self.progress("atlas", done, of)  # noqa: E731
        return open_vocabulary(self.concepts, self.artwork, report)

    @cached_property
    def aspects(self) -> dict[tuple[str, str], float]:
        """Width over height of the plain drawing of each (concept, artist)."""
        return {(row.concept, row.hand): row.aspect for row in reversed(self.atlas.rows)}

    def build_judge(self) -> Judge:
        """Return an untrained judge, from a fixed seed."""
        torch.manual_seed(JUDGE_SEED)
        people = [concept.name for concept in self.vocabulary if concept.person]
        return Judge(self.vocabulary.names, tuple(COLOURS), ("none", *STYLES), people=people, **SIZES)

    def scenes(self, split: str) -> Scenes:
        """Return the numbered scenes of a split, "train" or "held_out"."""
        return Scenes(self.atlas, self.vocabulary, MIX, JUDGE_SEED, split)

    def objective(self) -> JudgeObjective:
        """Return the objective; scenes that are not yet rendered are rendered first."""
        judge = self.build_judge()
        counts = {"held_out": round(HELD_OUT * self.num_scenes)}
        counts["train"] = self.num_scenes - counts["held_out"]
        pools = [self._render_scenes(split, count, judge) for split, count in counts.items() if count]
        return JudgeObjective(
            judge, [pool.pictures(SIZE_PX) for pool, _ in pools], SceneLabels.concatenate([f for _, f in pools])
        )

    def _render_scenes(self, split: str, count: int, judge: Judge) -> tuple[Pool, SceneLabels]:
        scenes, folder = self.scenes(split), self.folder / f"scenes-{split}"
        report: Callable[[int, int], None] = lambda done, of: self.progress(f"{split} scenes", done, of)  # noqa: E731
        pool = fill_pool(scenes, count, [SIZE_PX], folder, report)
        path = folder / "facts.npz"
        labels = SceneLabels.load(path) if path.exists() else None
        if labels is None or len(labels) != len(pool):
            labels = SceneLabels.of([scenes.scene(number) for number in range(len(pool))], judge, self.aspects)
            labels.save(path)
        return pool, labels

    def train(self, minutes: float | None = None, num_steps: int | None = None, quiet: bool = False) -> bool:
        """Train with the training loop, and resume an earlier run.

        Args:
            minutes: how long to train; by default as long as the steps take.
            num_steps: by default those of `PLAN`.
            quiet: print no progress.

        Returns:
            Whether the training is complete.
        """
        objective, seconds = self.objective(), None if minutes is None else 60 * minutes
        return train_stage(
            lambda: objective, PLAN, self.folder / "judge", seconds=seconds, num_steps=num_steps, quiet=quiet
        )

    def load_trained(self) -> Judge:
        """Return the judge with averaged weights, frozen."""
        judge = self.build_judge()
        judge.load_state_dict(load_ema(self.folder / "judge"))
        return judge.eval().requires_grad_(False)

    def export(self, folder: Path) -> Path:
        """Write the trained judge to a folder."""
        return save_judge(folder, self.load_trained())
