from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from judge_toys import tiny_judge
from PIL import Image
from same_picture import ROUNDING, apart
from torch import Tensor

from sumi.bundles import weight_hash
from sumi.data.scene import BACKGROUNDS
from sumi.errors import SumiError
from sumi.evaluation.exam import (
    NUM_TRUE,
    load_syllabus,
    prompt_drawer,
    resize_for_judge,
    run_exam,
    with_decoder_settings,
)
from sumi.evaluation.exam_record import ExamRecord, save_exam
from sumi.evaluation.exam_sheet import exam_sheet, save_sheets
from sumi.evaluation.examinee import open_examinee
from sumi.evaluation.grading import find_background, grade_pictures, relation_holds
from sumi.evaluation.intervals import Share
from sumi.evaluation.judge_exam import add_noise, blur, codec_redraw
from sumi.evaluation.questions import CATEGORIES, SEED, VERSION, Question, Syllabus, make_questions
from sumi.evaluation.true_scenes import TrueScenes
from sumi.imaging.pixels import from_image
from sumi.judge import JudgeTraining
from sumi.judge.network import SIZE_PX, Judge
from sumi.pipelines import Model, Picture, Request
from sumi.pipelines.interpreted import UnknownPromptError
from sumi.systems.unclip.artist import Sumi

NAMES = ("car", "cat", "dog", "fox", "hat", "owl")
SYLLABUS = Syllabus.common(NAMES, NAMES)


@pytest.fixture
def fake_judge() -> Judge:
    return tiny_judge(NAMES)


def test_run_exam_draws_grades_and_writes_sheets(tiny: Sumi, fake_judge: Judge, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = run_exam(
        prompt_drawer(tiny.pipeline), fake_judge, SYLLABUS, ("single", "colour", "pair held out"), n=4, batch=3,
        progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert result.pictures.shape == (12, 4, SIZE_PX, SIZE_PX) and result.pictures.dtype == torch.uint8
    assert result.seeds == tuple(range(SEED, SEED + 4)) * 3
    assert [name for name, _ in result.rows][:2] == ["single: top-1", "single: top-5"]
    assert {"colour: colours", "colour: all right", "pair held out: both things"} <= dict(result.rows).keys()
    assert all(share.n == 4 for _, share in result.rows) and seen[-1] == (12, 12)
    kept = json.loads(json.dumps(result.to_json()))
    assert len(kept["pictures"]) == 12 and kept["pictures"][0]["prompt"].startswith("a")
    row = kept["rows"]["colour: all right"]
    assert row["ceiling"] is row["chance"] is row["usable"] is None, "without artwork nothing is known of the judge"
    assert row["marks"] == "".join("01"[grade.right] for grade in result.grades[4:8])
    assert [path.name for path in save_sheets(result, tmp_path)] == ["single.png", "colour.png", "pair-held-out.png"]
    assert exam_sheet(result.of("colour")).size[0] > 4 * SIZE_PX


def test_true_pictures_of_the_questions_give_ceilings_and_of_other_questions_chance(
    fake_judge: Judge, judge_training: JudgeTraining
) -> None:
    names = ("book", "fish", "fox", "owl")
    syllabus, truth = Syllabus.common(names, names), TrueScenes(judge_training.scenes("train"))

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return torch.zeros(len(prompts), 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)

    knowing = tiny_judge(names)
    result = run_exam(draw, knowing, syllabus, ("single", "background"), n=2, truth=truth)
    scores = {score.name: score for score in result.scores}
    ground = scores["background: background"]
    assert ground.value == Share(0, 2) and ground.ceiling == Share(4, 4) and ground.usable
    asked = make_questions("background", syllabus, NUM_TRUE)
    grades = grade_pictures(knowing, truth.render(asked).roll(-1, dims=0), asked)
    assert ground.chance == Share.of(grade.facts["background"] for grade in grades)
    asked = make_questions("single", syllabus, NUM_TRUE)
    grades = grade_pictures(knowing, truth.render(asked), asked)
    assert scores["single: top-1"].ceiling == Share.of(grade.right for grade in grades)


def test_examinee_is_described_by_everything_that_decides_its_pictures(tiny: Sumi, tiny_folder: Path) -> None:
    judge = tiny_judge(NAMES)
    opened = open_examinee(replace(tiny, folder=tiny_folder), judge, steps=2)
    assert opened.syllabus.names == ("dog", "fox") and opened.about["judge"] == weight_hash(judge)
    assert opened.about["settings"]["decoder"]["steps"] == 2 and opened.about["hashes"] == dict(tiny.model.hashes)
    with pytest.raises(SumiError, match="does not say which concepts"):
        open_examinee(replace(tiny, folder=None), judge)


def test_a_system_is_examined_in_the_labels_that_it_knows_by_its_own_verbs(tmp_path: Path) -> None:
    class Plain:
        model, sizes = Model("plain", {"network": "1"}), (8,)

        def stream(self, request: Request) -> Iterator[Picture]:
            if request.prompt == "an owl":
                raise UnknownPromptError("not known", [])
            image = Image.new("RGBA", (8, 8), (request.seed or 0, 0, 0, 255))
            yield Picture(image, 9, None, 0.0, None)  # type: ignore[arg-type]

    opened = open_examinee(Plain(), tiny_judge(NAMES))  # type: ignore[arg-type]
    assert opened.syllabus.names == tuple(sorted(NAMES)) and opened.about["model"] == "plain"
    pictures = opened.draw(["a fox", "an owl"], [9, 10])
    assert pictures[0, 0].unique().tolist() == [9] and not pictures[1].any()


def test_record_keeps_the_first_pictures_of_each_category(tiny: Sumi, fake_judge: Judge, tmp_path: Path) -> None:
    result = run_exam(prompt_drawer(tiny.pipeline), fake_judge, SYLLABUS, ("single", "colour"), n=8, batch=8)
    assert result.first(5) == [*range(5), *range(6, 11)], "six things were taught"
    paths = save_exam(tmp_path, "exam", {"model": "tiny", **result.to_json()}, result.pictures, result.first(5))
    kept = ExamRecord.load(paths[0])
    assert kept.suite == "exam" and kept.model == "tiny" and len(kept.grid) == 10
    key = result.questions[8].prompt, result.seeds[8]
    assert torch.equal(from_image(kept.grid[key], SIZE_PX)[3], result.pictures[8, 3])


def test_prompt_drawer_draws_what_generate_draws(tiny: Sumi) -> None:
    """One prompt of a batch is the picture that `generate` draws from that prompt and seed."""
    drawn = prompt_drawer(tiny.pipeline)(["a red fox", "the blue dog"], [7, 8])
    alone = prompt_drawer(tiny.pipeline)(["the blue dog"], [8])
    assert apart(drawn[1], alone[0]) <= ROUNDING
    image = tiny.generate("the blue dog", seed=8, size=16)[0].image.convert("RGBA").resize((4, 4))
    exam = drawn[1].float().view(4, 4, 16, 4, 16).mean(dim=(2, 4))[3]
    assert torch.tensor(list(image.getchannel("A").tobytes())).view(4, 4).float().sub(exam).abs().mean() < 12


def test_exam_draws_each_category_in_batches_from_seeds_of_its_own(fake_judge: Judge) -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        asked.append((list(prompts), list(seeds)))
        levels = torch.tensor(list(seeds), dtype=torch.int64) % 200
        return levels.to(torch.uint8)[:, None, None, None].expand(-1, 4, SIZE_PX, SIZE_PX).contiguous()

    done: list[tuple[int, int]] = []
    result = run_exam(
        draw, fake_judge, SYLLABUS, ("single", "colour"), n=5, seed=70, batch=2, progress=lambda *now: done.append(now)
    )
    assert [seeds for _, seeds in asked] == [[70, 71], [72, 73], [74]] * 2
    assert [prompt for prompts, _ in asked for prompt in prompts] == [question.prompt for question in result.questions]
    assert done == [(2, 10), (4, 10), (5, 10), (7, 10), (9, 10), (10, 10)]
    colour = result.of("colour")
    assert colour.questions == result.questions[5:] and colour.grades == result.grades[5:]
    assert colour.seeds == (70, 71, 72, 73, 74) and colour.pictures[:, 0, 0, 0].tolist() == [70, 71, 72, 73, 74]
    assert result.categories == ("single", "colour") and colour.categories == ("colour",)
    kept = result.to_json()
    assert [row["seed"] for row in kept["pictures"]] == list(result.seeds) and kept["exam"] == VERSION


def test_pictures_are_resized_for_the_judge_unless_they_have_its_size() -> None:
    small = torch.full((2, 4, 16, 16), 200, dtype=torch.uint8)
    assert resize_for_judge(small).shape == (2, 4, SIZE_PX, SIZE_PX)
    fitting = torch.randint(0, 255, (1, 4, SIZE_PX, SIZE_PX)).byte()
    assert resize_for_judge(fitting) is fitting


def test_with_decoder_settings_leaves_the_model_unchanged(tiny: Sumi) -> None:
    changed = with_decoder_settings(tiny.pipeline, steps=2, guidance=1.0)
    assert (changed.decoder.settings.steps, changed.decoder.settings.guidance) == (2, 1.0)
    assert tiny.pipeline.decoder.settings.steps == 4 and changed.prior.settings == tiny.pipeline.prior.settings


def test_run_exam_grades_every_category(fake_judge: Judge) -> None:
    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return torch.zeros(len(prompts), 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)

    names = dict(run_exam(draw, fake_judge, SYLLABUS, tuple(CATEGORIES), n=3).rows)
    assert {"style: style", "count: count", "background: background", "binding: colours"} <= names.keys()
    assert {"pair: both things", "pair held out: position"} <= names.keys()
    assert names["background: background"].right == 0  # transparent is no colour


def test_grade_is_right_when_every_fact_but_top_5_holds(fake_judge: Judge) -> None:
    picture = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    likeliest = grade_pictures(fake_judge, picture, [Question("single", "", ("fox",), (None,))])[0].seen[0][0]
    right = grade_pictures(fake_judge, picture, [Question("single", "", (likeliest,), (None,))])[0]
    assert right.right and right.facts == {"things": True, "top-5": True}
    more = grade_pictures(fake_judge, picture, [Question("background", "", (likeliest,), (None,), background="red")])[0]
    assert more.facts["things"] and not more.right


@pytest.mark.parametrize(
    ("relation", "subject", "other", "held"),
    [
        ("left of", (0.2, 0.5), (0.8, 0.5), True),
        ("left of", (0.8, 0.5), (0.2, 0.5), False),
        ("right of", (0.8, 0.5), (0.2, 0.6), True),
        ("above", (0.5, 0.2), (0.5, 0.8), True),
        ("on", (0.5, 0.3), (0.6, 0.7), True),
        ("below", (0.5, 0.8), (0.5, 0.2), True),
        ("below", (0.5, 0.2), (0.5, 0.8), False),
        ("left of", (0.48, 0.5), (0.52, 0.5), False),
        ("above", (0.1, 0.4), (0.9, 0.6), False),
    ],
)
def test_relation_holds_by_the_centers(
    relation: str, subject: tuple[float, float], other: tuple[float, float], held: bool
) -> None:
    assert relation_holds(relation, torch.tensor(subject), torch.tensor(other)) is held


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_find_background_reads_the_border(name: str) -> None:
    picture = torch.full((4, SIZE_PX, SIZE_PX), 255, dtype=torch.uint8)
    picture[:3] = torch.tensor(BACKGROUNDS[name], dtype=torch.uint8)[:, None, None]
    picture[:, 16:48, 16:48] = 0
    assert find_background(picture) == name
    picture[3] = 0
    assert find_background(picture) is None


def test_degradations_keep_shape_and_type() -> None:
    flat = torch.full((2, 4, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8)
    assert torch.equal(blur(flat), flat)
    noise = add_noise(flat).float() - 128
    assert noise.std() == pytest.approx(255 * 0.08, rel=0.05) and noise.mean().abs() < 1
    assert (codec_redraw(lambda x: x, lambda x: x)(flat).int() - 128).abs().max() <= 4


def test_load_syllabus_refuses_a_model_without_concepts(tiny_folder: Path, fake_judge: Judge, tmp_path: Path) -> None:
    assert load_syllabus(tiny_folder, fake_judge).names == ("dog", "fox")
    copy = tmp_path / "silent"
    shutil.copytree(tiny_folder, copy)
    (copy / "vocabulary.json").write_text("{}")
    with pytest.raises(SumiError, match="does not say which concepts"):
        load_syllabus(copy, fake_judge)
