"""Exams in editing on a tiny model: each is sat whole, and its statistics are known where the answers are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from judge_toys import tiny_judge
from judge_training import DRAWN
from PIL import Image
from torch import Tensor

from sumi.diffusion import Estimate, FlowSchedule
from sumi.errors import SumiError
from sumi.evaluation import edit_measurements as editing
from sumi.evaluation import inversion as inverting
from sumi.evaluation import ranking
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.edit_measurements import (
    AMOUNTS,
    DEFAULT_MEASUREMENTS,
    MEASUREMENTS,
    expected_similarity,
    measure_edits,
    restyle_prompts,
    similarity_figures,
)
from sumi.evaluation.measurement import load_record, measurement_lines, save_record
from sumi.evaluation.pixel_metrics import mean_pairwise_rmse, psnr, rmse
from sumi.evaluation.questions import Question, Syllabus
from sumi.judge.train_judge import JudgeTraining
from sumi.pipelines.stage import identity
from sumi.pipelines.tasks import FURTHEST, Blend
from sumi.systems.unclip.artist import Sumi

TAUGHT = ("book", "fish", "fox", "owl", "tree")


@pytest.fixture
def exam(tiny: Sumi, judge_training: JudgeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EditExam:
    """The tiny model at an exam, with fewer candidates, steps and amounts than real ones."""
    monkeypatch.setattr(ranking, "BEST_OF", 4)
    monkeypatch.setattr(inverting, "STEPS", (2, 16))
    monkeypatch.setattr(editing, "AMOUNTS", (0.0, 0.5))
    return EditExam(tiny, tiny_judge(tuple(DRAWN)), Syllabus(TAUGHT), judge_training, tmp_path)


# What is counted.


def test_reranking_by_a_perfect_score_is_right_wherever_a_candidate_is() -> None:
    right = [[False, True] + 14 * [False], 16 * [False], [True] + 15 * [False], 15 * [False] + [True]]
    rows = [{"right": row, "near": [float(held) for held in row]} for row in right]
    found = {figure.name: figure for figure in ranking.reranking_figures(rows)}
    gain = found["best of 16 less best of 1"]
    assert gain.value.value == 0.5 and gain.value.n == 4 and gain.met is False, "four questions are too few to be sure"
    assert [found[f"recognised, best of {size}"].value.value for size in (1, 2, 8, 16)] == [0.25, 0.5, 0.5, 0.75]
    assert found["recognised, any of 16"].value.value == 0.75
    many = {figure.name: figure for figure in ranking.reranking_figures(10 * rows)}
    assert many["best of 16 less best of 1"].met


def test_reranking_that_prefers_the_first_gains_nothing() -> None:
    rows = [{"right": [k % 2 == 0] + 15 * [True], "near": 16 * [0.5]} for k in range(20)]
    gain = ranking.reranking_figures(rows)[0]
    assert gain.value.value == 0 and not gain.met


def test_rmse_is_a_fraction_of_the_range_of_levels() -> None:
    black = torch.zeros(3, 4, 8, 8, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    assert rmse(black, white) == [1, 1, 1] and psnr(black, white) == [0, 0, 0]
    assert psnr(black, black + 51)[0] == pytest.approx(13.979, abs=1e-3), "a fifth of the range"
    assert psnr(black, black)[0] > 70 and mean_pairwise_rmse(black) == 0
    assert mean_pairwise_rmse(torch.cat([black[:1], white[:2]])) == pytest.approx(2 / 3)


def test_similarity_figures_miss_where_the_mean_curve_falls() -> None:
    rising = [[0.1 * k for k in range(len(AMOUNTS))], [0.2 * k for k in range(len(AMOUNTS))]]
    seen = [[k > 2 for k in range(len(AMOUNTS))]] * 2
    least, whole, *rest = similarity_figures(rising, rising, seen, seen)
    assert (
        least.met
        and least.value.value == pytest.approx(0.15)
        and whole.value.value == pytest.approx(0.75)
        and whole.met
    )
    assert [figure.value.value for figure in rest[::4]] == pytest.approx([0.15 * k for k in range(6)])
    assert [figure.value.value for figure in rest[3::4]] == [0, 0, 0, 1, 1, 1]
    dented = [[0.0, 0.1, 0.2, 0.15, 0.3, 0.4]] * 2
    least = similarity_figures(dented, rising, seen, seen)[0]
    assert least.value.value == pytest.approx(-0.05) and not least.met


def test_expected_similarity_peaks_where_the_angle_says() -> None:
    before = torch.tensor([1.0, 0.0])
    for degrees, passed in ((38, 0.35), (32, 0.3), (18, 0.18)):
        angle = torch.tensor(degrees).deg2rad()
        after = torch.stack([angle.cos(), angle.sin()])
        cosines = expected_similarity(before[None], before, after)
        assert passed == pytest.approx(degrees / (90 + degrees / 2), abs=0.01)
        nearest = min(range(len(AMOUNTS)), key=lambda k: abs(FURTHEST * AMOUNTS[k] - passed))
        assert cosines.index(max(cosines)) == nearest and cosines[0] == pytest.approx(float(angle.cos()))


def test_restyle_prompts_depend_on_the_number_alone() -> None:
    fox = Question("single", "", ("fox",), (None,))
    assert restyle_prompts(fox, 3) == restyle_prompts(fox, 3)
    before, after, colour = restyle_prompts(fox, 3)
    assert before == "a fox" and after.split()[1:] == [colour, "fox"]
    assert len({restyle_prompts(fox, number)[2] for number in range(50)}) > 5


def test_describe_first_reached_names_the_least_steps() -> None:
    near = {(2, 1): 20.0, (16, 1): 31.0, (50, 1): 33.0, (2, 4): 10.0, (16, 4): 12.0}
    assert "with 16 steps, 1 round and with none of 4 rounds." in inverting.describe_first_reached(near)


# Whole exams.


def test_measure_edits_runs_every_measurement_and_records_it(exam: EditExam) -> None:
    told: list[str] = []
    for name, proof, record in measure_edits(exam, (), 8, lambda what, done, of: told.append(f"{what} {done} of {of}")):
        save_record(exam.folder, record, {name: proof.sheet})
        assert all(figure.value.n for figure in proof.figures) and proof.seeds, name
        assert any(figure.target is not None for figure in proof.figures), f"{name} is asked for something"
        assert measurement_lines(name, proof)[0].startswith(name)
    pictured = [name for name in DEFAULT_MEASUREMENTS if not name.startswith("reranking")]
    assert [f"{name} 2 of 2" in told for name in pictured].count(False) == 1, "inversion counts settings"
    kept = json.loads((exam.folder / "edits.json").read_text())
    assert (
        list(kept["proofs"]) == list(DEFAULT_MEASUREMENTS)
        and set(DEFAULT_MEASUREMENTS) < set(MEASUREMENTS)
        and kept["hashes"]
        and kept["n"] == 8
    )
    assert kept["proofs"]["blends"]["rows"]["the first frame to the first picture"]["unit"] == "dB"
    page = (exam.folder / "edits.md").read_text()
    assert page.count("| figure | value |") == len(DEFAULT_MEASUREMENTS) and "MISSED" in page
    for name in DEFAULT_MEASUREMENTS:
        with Image.open(exam.folder / f"{name}.png") as sheet:
            assert sheet.width > 200, name


def test_measure_edits_of_one_name_keeps_the_other_records(exam: EditExam) -> None:
    for only in (("variations",), ("blends",)):
        for name, proof, record in measure_edits(exam, only, 8):
            save_record(exam.folder, record, {name: proof.sheet})
    assert list(record["proofs"]) == ["variations", "blends"]
    assert load_record(exam.folder, {**exam.about, "n": 9})["proofs"] == {}, "another n is another exam"
    with pytest.raises(SumiError, match=r"unknown exam in editing 'blend'.*did you mean blends"):
        next(measure_edits(exam, ("blend",), 8))


def test_measure_edits_without_artwork_says_how_to_get_it(exam: EditExam, tmp_path: Path) -> None:
    poor = replace(exam, training=JudgeTraining(tmp_path / "nowhere", tmp_path))
    with pytest.raises(SumiError, match=r"run `make artwork`"):
        next(measure_edits(poor, ("blends",), 8))
    assert next(measure_edits(poor, ("reranking",), 4))[0] == "reranking", "which needs none"


def test_reranking_continues_an_interrupted_log(exam: EditExam, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    true_candidates = ranking.draw_candidates

    def counted(exam: EditExam, asked: Any, seeds: Any) -> Any:
        drawn.extend(seeds)
        return true_candidates(exam, asked, seeds)

    monkeypatch.setattr(ranking, "draw_candidates", counted)
    monkeypatch.setattr(ranking, "TOGETHER", 1)
    monkeypatch.setattr(ranking, "SHOWN", 0)
    whole = ranking.measure_reranking(exam, 4, lambda done, of: None)
    path = exam.folder / "reranking.jsonl"
    text = path.read_text()
    assert len(drawn) == len(set(drawn)) == 16
    path.write_text(text[: text.rindex('{"near"') + 9])
    again = ranking.measure_reranking(exam, 4, lambda done, of: None)
    assert drawn[16:] == drawn[12:16] and path.read_text() == text and again.figures == whole.figures
    other = replace(exam, judge=tiny_judge(tuple(DRAWN)))
    torch.nn.init.zeros_(other.judge.concept.bias)
    ranking.measure_reranking(other, 1, lambda done, of: None)
    assert len(drawn) == 24, "another judge starts anew"


def test_reranking_of_another_category_has_a_log_of_its_own(exam: EditExam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "BEST_OF", 2)
    asked: list[str] = []
    true_candidates = ranking.draw_candidates
    monkeypatch.setattr(
        ranking,
        "draw_candidates",
        lambda exam, some, seeds: (asked.extend(q.category for q in some), true_candidates(exam, some, seeds))[1],
    )
    ((name, proof, _),) = measure_edits(exam, ("reranking-pair",), 2)
    assert name == "reranking-pair" and set(asked) == {"pair"} and "(pair)" in proof.claim
    assert (exam.folder / "reranking-pair.jsonl").exists() and not (exam.folder / "reranking.jsonl").exists()


def test_reranking_candidates_score_as_in_generate_best_of(exam: EditExam, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CLIP is shown here is what `generate --best-of` shows it, to the seed."""
    monkeypatch.setattr(
        "sumi.evaluation.exam.SIZE_PX", 16
    )  # what a real model draws at, too, is what the judge looks at
    asked = [Question("single", "a red fox", ("fox",), (None,))] * 4
    _, near = ranking.draw_candidates(exam, asked, range(5, 9))
    drawn = exam.artist.generate("a red fox", best_of=4, n=4, seed=5, size=16)
    scores = {picture.seed: picture.score for picture in drawn}
    assert near == pytest.approx([scores[seed] for seed in range(5, 9)], abs=5e-4)
    assert max(near) - min(near) > 2e-3


def towards_grey(x_t: Tensor, t: Tensor, cond: object, /) -> Estimate:
    """E[x | x_t] where x ~ N(0, 0.6^2) in every coordinate."""
    alpha, sigma = FlowSchedule()(t).like(x_t)
    return Estimate(alpha * 0.36 / (alpha**2 * 0.36 + sigma**2) * x_t)


def test_inversion_with_a_lossless_codec_and_a_known_decoder_is_exact(exam: EditExam) -> None:
    stage = exam.pipeline.decoder
    decoder = replace(stage, denoiser=towards_grey, shape=(4, 16, 16), decode=identity, encode=identity)
    exam = replace(exam, artist=replace(exam.artist, pipeline=replace(exam.pipeline, decoder=decoder)))
    levels = exam.model_inputs(exam.true_pictures(3)[1])
    assert min(psnr(inverting.codec_round_trip(exam.pipeline, levels), levels)) > 35, "only haze is cleaned away"
    found = [min(psnr(inverting.reconstruct(exam.pipeline, levels, 16, rounds).bare, levels)) for rounds in (1, 8)]
    assert found[1] > found[0] and found[1] > 30
    frames = exam.run_task(Blend(frames=2, size=16, seed=1), *exam.true_pictures(2)[1])
    assert max(rmse(frames, inverting.reconstruct(exam.pipeline, levels[:2], 16, 4).bare)) < 0.02, (
        "as a blend's ends are"
    )
