from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sumi.evaluation.judge_exam import KINDS, examine_judge, true_pictures
from sumi.judge.network import SIZE_PX, judge_pictures, load_judge
from sumi.judge.objective import SceneLabels
from sumi.judge.train_judge import HELD_OUT, JUDGE_SEED, JudgeTraining
from sumi.systems.sticker.presets import PRESETS
from sumi.training import TrainConfig, load_ema, train


def test_judge_training_exports_a_judge(judge_training: JudgeTraining, tmp_path: Path) -> None:
    assert judge_training.train(num_steps=2, quiet=True)
    judge = load_judge(judge_training.export(tmp_path / "judge"))
    assert judge.names == judge_training.vocabulary.names and judge.people == ()
    figures = dict(examine_judge(judge, judge_training.scenes("train"), n=4, codec=lambda pictures: pictures))
    assert {"plain: top-1", "plain, captions swapped: top-1", "plain, through the codec: top-1"} <= figures.keys()
    assert {"held-out colour: all right", "held-out icon: top-1", "counted: count"} <= figures.keys()


def test_judge_objective_has_taught_and_held_out_scenes(judge_training: JudgeTraining) -> None:
    lesson = judge_training.objective()
    few = round(HELD_OUT * 144)
    assert len(lesson) == 144 and [len(pool) for pool in lesson.pools] == [few, 144 - few]
    pictures = lesson.pictures(torch.tensor([few, 0, 143]))
    assert (pictures[0].numpy() * 255 == lesson.pools[1][0]).all()
    assert (pictures[1].numpy() * 255 == lesson.pools[0][0]).all()
    taco = lesson.model.ids["taco"]
    assert (lesson.labels.concepts[:few] == taco).any() and not (lesson.labels.concepts[few:] == taco).any()
    again = judge_training.objective()  # from the files
    assert (again.labels.concepts == lesson.labels.concepts).all()


def test_judge_labels_are_those_of_the_scenes(judge_training: JudgeTraining) -> None:
    scenes, judge = judge_training.scenes("train"), judge_training.build_judge()
    shown = [scenes.scene(number) for number in range(40)]
    facts = SceneLabels.of(shown, judge, judge_training.aspects)
    for row, scene in enumerate(shown):
        assert [judge.names[k] for k in facts.concepts[row] if k >= 0] == [thing.concept for thing in scene.things]
        left, top, right, bottom = facts.boxes[row, 0]
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        if len(scene.things) == 1:
            assert facts.counts[row] + 1 == scene.things[0].count
    assert np.unique(facts.styles).size > 1


def test_judge_training_resumes_exactly(judge_training: JudgeTraining, tmp_path: Path) -> None:
    plan = TrainConfig(4, 8, lr=1e-3, warmup_steps=0, precision="fp32")
    for name, stops in (("whole", ()), ("parts", (2,))):
        for stop in (*stops, 99):
            reports = train(judge_training.objective(), replace(plan, log_s=0), tmp_path / name)
            for report in reports:
                if report.step == stop:
                    reports.close()  # type: ignore[attr-defined]
                    break
    one, two = (load_ema(tmp_path / name) for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_judge_seed_is_no_preset_s_seed() -> None:
    assert not {JUDGE_SEED, JUDGE_SEED + 1, JUDGE_SEED + 2} & {
        preset.seed + k for preset in PRESETS.values() for k in range(8)
    }


def test_true_pictures_are_reproducible(judge_training: JudgeTraining) -> None:
    asked, pictures = true_pictures(judge_training.scenes("train"), "plain", KINDS["plain"], 5)
    again = true_pictures(judge_training.scenes("train"), "plain", KINDS["plain"], 5)
    assert asked == again[0] and torch.equal(pictures, again[1])
    assert pictures.shape == (5, 4, SIZE_PX, SIZE_PX)


def test_judge_takes_rendered_pictures(judge_training: JudgeTraining) -> None:
    _, pictures = true_pictures(judge_training.scenes("train"), "plain", KINDS["plain"], 3)
    assert judge_pictures(judge_training.build_judge().eval(), pictures).best(1).shape == (3, 1)
