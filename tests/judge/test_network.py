from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from judge_toys import ASPECTS, NAMES, picture, scene, some_scenes, tiny_judge
from safetensors.torch import load_file, save_file
from torch import Tensor

from sumi.errors import SumiError
from sumi.evaluation.grading import grade_pictures, summarize
from sumi.evaluation.questions import Question
from sumi.judge.network import GROUNDS, Judge, composite_input, halves, judge_pictures, load_judge, save_judge
from sumi.judge.objective import JudgeObjective, SceneLabels, augment, grounds
from sumi.training import TrainConfig, load_ema, train


@pytest.fixture(scope="module")
def schooled(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """A tiny judge that learned the toy world by the real lesson and loop."""
    scenes, judge = some_scenes(512, seed=1), tiny_judge()
    pictures = torch.stack([picture(scene) for scene in scenes]).numpy()
    lesson = JudgeObjective(judge, [pictures[:200], pictures[200:]], SceneLabels.of(scenes, judge, ASPECTS))
    plan = TrainConfig(90, 24, lr=6e-3, warmup_steps=10, ema=0.95, precision="fp32", weight_decay=0.0)
    folder = tmp_path_factory.mktemp("judge")
    for _ in train(lesson, plan, folder):
        pass
    learned = tiny_judge()
    learned.load_state_dict(load_ema(folder))
    return learned.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def unseen() -> tuple[list[Question], Tensor]:
    scenes = some_scenes(200, seed=2)
    asked = [Question.of_scene("one" if len(scene.things) == 1 else "two", scene) for scene in scenes]
    return asked, torch.stack([picture(scene) for scene in scenes])


def test_judge_learns_a_toy_world(schooled: Judge, unseen: tuple[list[Question], Tensor]) -> None:
    asked, pictures = unseen
    figures = dict(summarize(asked, grade_pictures(schooled, pictures, asked)))
    assert figures["one: top-1"].value > 0.95
    assert figures["two: both things"].value > 0.45  # luck: 1/6
    assert figures["one: colours"].value > 0.8


def test_judge_on_swapped_questions_scores_at_chance(schooled: Judge, unseen: tuple[list[Question], Tensor]) -> None:
    singles = [k for k, question in enumerate(unseen[0]) if len(question.things) == 1]
    asked = [unseen[0][k] for k in singles]
    shifted = [*asked[1:], asked[0]]
    share = dict(summarize(shifted, grade_pictures(schooled, unseen[1][singles], shifted)))["one: top-1"]
    same = sum(a.things == b.things for a, b in zip(asked, shifted, strict=True)) / len(asked)
    assert share.value == pytest.approx(same, abs=0.05)
    assert share.interval[0] < 1 / len(NAMES) < share.interval[1]


def test_judge_locates_things(schooled: Judge) -> None:
    scenes = [scene for scene in some_scenes(60, seed=3) if len(scene.things) == 2]
    pictures = torch.stack([picture(scene) for scene in scenes])
    ids = torch.tensor([[schooled.ids[thing.concept] for thing in scene.things] for scene in scenes])
    where = judge_pictures(schooled, pictures, ids).where
    assert float((where[:, 0, 0] < where[:, 1, 0]).float().mean()) > 0.8


def test_judge_output_does_not_depend_on_the_batch(schooled: Judge, unseen: tuple[list[Question], Tensor]) -> None:
    pictures = unseen[1][:6]
    whole, parts = judge_pictures(schooled, pictures), judge_pictures(schooled, pictures, batch=4)
    torch.testing.assert_close(whole.concepts, parts.concepts)
    torch.testing.assert_close(whole.concepts.exp().sum(dim=1), torch.ones(6), atol=0.3, rtol=0)


def test_judge_separates_two_things_by_a_cut(schooled: Judge) -> None:
    """Asked in either order, the same two are found, and each is looked at on its own side."""
    shown = scene(("bar", "red", 0.25, 0.5), ("plank", "blue", 0.75, 0.5))
    there, back = (
        grade_pictures(schooled, picture(shown)[None], [Question("two", "", things, colours)])[0]
        for things, colours in ((("bar", "plank"), ("red", "blue")), (("plank", "bar"), ("blue", "red")))
    )
    assert there.facts == back.facts == {"things": True, "colours": True}
    sides = halves(8, 8)
    assert sides.sum(dim=1).eq(1).all() and sides[0, 0, :, 0].all() and sides[1, 0, 0].all()


def test_judge_refuses_other_shapes_and_types() -> None:
    with pytest.raises(ValueError, match="uint8"):
        judge_pictures(tiny_judge(), torch.zeros(1, 4, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="one or two things, not 3"):
        judge_pictures(tiny_judge(), torch.zeros(1, 4, 64, 64, dtype=torch.uint8), torch.zeros(1, 3, dtype=torch.int64))


def test_composite_input_shows_the_ground_where_transparent() -> None:
    clear, opaque = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    ground = torch.tensor([GROUNDS[1]])
    assert composite_input(clear, ground)[0, 0, 0, 0] == pytest.approx(2 * GROUNDS[1][0] - 1)
    assert composite_input(opaque, ground).eq(1).all()


def test_augment_stays_in_range_and_follows_its_generator() -> None:
    x = torch.stack([picture(scene) for scene in some_scenes(10, seed=4)]).float() / 255
    one, two, other = (augment(x.clone(), torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.min() >= 0 and one.max() <= 1
    laid = grounds(10, torch.Generator().manual_seed(0))
    assert laid.shape == (10, 3) and laid.min() >= 0 and laid.max() <= 1
    assert (augment(x.clone(), torch.Generator().manual_seed(5), 0.0) - x).abs().max() < 1e-4


def test_scene_labels_survive_their_file(tmp_path: Path) -> None:
    judge = tiny_judge()
    facts = SceneLabels.of(some_scenes(8, seed=5), judge, ASPECTS)
    facts.save(tmp_path / "facts.npz")
    back = SceneLabels.load(tmp_path / "facts.npz")
    joined = SceneLabels.concatenate([facts, back])
    assert len(joined) == 16 and (joined.concepts[:8] == joined.concepts[8:]).all()
    assert (back.counts[back.concepts[:, 1] != -1] == -1).all()


def test_judge_survives_saving_and_loading(
    tmp_path: Path, schooled: Judge, unseen: tuple[list[Question], Tensor]
) -> None:
    back = load_judge(save_judge(tmp_path / "judge", schooled))
    assert back.names == schooled.names and not back.training
    there, here = (judge_pictures(judge, unseen[1][:32]).best(1) for judge in (back, schooled))
    assert float((there == here).float().mean()) > 0.95  # bfloat16 weights


def test_load_judge_names_what_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="no judge in"):
        load_judge(tmp_path)
    folder = save_judge(tmp_path / "judge", tiny_judge())
    weights = load_file(folder / "model.safetensors")
    weights["stranger"] = weights.pop("concept.bias")
    weights["colour.bias"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(SumiError, match=r"missing concept\.bias, unused stranger, misshapen colour\.bias"):
        load_judge(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"wings": 2}))
    with pytest.raises(SumiError, match="does not describe a judge"):
        load_judge(folder)
