"""The exam of CLIP, with a CLIP that knows the answer by colour, and one that looks at the wrong thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from judge_training import DRAWN
from torch import Tensor

from sumi.evaluation.clip_exam import measure_clip
from sumi.evaluation.questions import Syllabus
from sumi.judge import JudgeTraining

NAMES = tuple(sorted(name for name in DRAWN if name != "taco"))


@dataclass
class ColourClip:
    """Embeds pictures by the colour of what is opaque, and the names of the drawings by theirs."""

    middle_alone: bool = False
    size_px: int = 32

    def embed(self, pictures: Tensor) -> Tensor:
        x = pictures.float() / 255
        x = x[:, :, 12:20, 12:20] if self.middle_alone else x
        colour = x[:, :3].sum(dim=(2, 3)) / x[:, 3].sum(dim=(1, 2)).clamp_min(1e-3)[:, None]
        return F.normalize(colour - 0.45, dim=1)

    def read(self, texts: Sequence[str]) -> SimpleNamespace:
        named = [next((colour for name, colour in DRAWN.items() if name in text), (0, 0, 0)) for text in texts]
        return SimpleNamespace(z_t=F.normalize(torch.tensor(named).float() / 255 - 0.45, dim=1))


@pytest.mark.parametrize("middle_alone", [False, True])
def test_zero_shot_is_right_and_its_gaps_say_what_it_looks_at(
    middle_alone: bool, judge_training: JudgeTraining
) -> None:
    scenes = judge_training.scenes("train")
    result = measure_clip(ColourClip(middle_alone), scenes, Syllabus.common(NAMES, NAMES), 40)  # type: ignore[arg-type]
    scores = {score.name: score for score in result.scores}
    assert scores["zero-shot, usual: top-1"].value.value == 1.0
    chance = scores["zero-shot, usual: top-1"].chance
    assert chance is not None and chance.as_text(chance.value) == "20.0%"
    corner = scores["spurious, in a corner: gap"].value
    assert corner.n == 40 and (corner.value < -0.5 if middle_alone else corner.value == 0.0)
    assert scores["spurious, small: gap"].value.value == 0.0
    ground = scores["spurious, on a background: gap"].value.value
    assert ground == pytest.approx(scores["zero-shot, on a background: top-1"].value.value - 1)
    assert {
        "retrieval, caption of a picture: recall at 1",
        "retrieval, picture of a caption: recall at 5",
    } <= scores.keys()
    assert not [name for name in scores if name.startswith("few-shot")], "every drawing here has one artist"
    assert result.sheet.width > 0
