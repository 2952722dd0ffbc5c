"""The systems of the lineage from the command line: listed, trained on any pictures, drawn with, and compared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import write_artwork
from PIL import Image

import sumi.cli.lineage
from sumi.errors import SumiError
from sumi.lineage import runner
from sumi.nn import UNet
from sumi.pipelines import read_recipe
from sumi.systems import SYSTEMS, Method, System, diffusion_spec
from sumi.systems import dataset as material
from sumi.systems import train_system as course

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, batches and looks at the pictures that cost nothing."""

    def unet(out_channels: int = 4, vector_width: int = 0) -> UNet:
        return UNet(4, out_channels, [16], [1], [False], vector_width=vector_width, middle=0)

    monkeypatch.setattr(diffusion_spec, "unet", unet)
    monkeypatch.setattr(diffusion_spec.DiffusionObjective, "picture", lambda *_: None)
    monkeypatch.setattr(course, "PLAN", replace(course.PLAN, batch_size=2, precision="fp32"))


def refused(ran: Any, says: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    assert says in ran.err, ran.err


OWN = ("--licence", "own work")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two red and two blue pictures, each colour in a sub-folder."""
    for name, colour in {"red/1": "red", "red/2": "#e00", "blue one/1": "blue", "blue one/2": "#00e"}.items():
        path = tmp_path / "mine" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), colour).save(path)
    return tmp_path / "mine"


def train(command: Command, system: str, data: Path, *more: str) -> Any:
    return command("train", system, "--data", str(data), "--size", "8", "--steps", "1", "--run", "run", *OWN, *more)


def test_systems_lists_every_system_in_order(command: Command) -> None:
    listed = json.loads(command("systems", "--json").out)["systems"]
    assert [row["name"] for row in listed] == list(SYSTEMS)
    assert listed[0]["draws"] is True and "pictures" in listed[0]["needs"]
    table = command("systems").out.splitlines()
    assert len(table) == len(SYSTEMS) + 1  # in a pipe, a row is a line
    for row, line in zip(SYSTEMS.values(), table[1:], strict=True):
        assert line.split()[:2] == [row.name, str(row.year)] and row.summary in line


def test_train_has_a_command_for_every_system(command: Command) -> None:
    help_text = command("train", "--help").out
    assert all(f"  {name} " in help_text for name in ("sticker", *SYSTEMS))
    ran = command("train", "edm", "--help")
    assert ran.status == 0 and SYSTEMS["edm"].summary in ran.out and "runs/edm" in ran.out


def test_help_names_the_number_of_threads(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in ((), ("generate",), ("serve",), ("train",), ("train", "edm")):
        assert "SUMI_THREADS" in command(*words, "--help").out, words
    assert "SUMI_THREADS" not in command("keys", "--help").out
    monkeypatch.setenv("SUMI_THREADS", "two")
    ran = command("train", "edm", "--data", "nowhere")
    refused(ran, "SUMI_THREADS should be a number of threads from 1 to 4096, not 'two'")


def test_train_again_with_other_pictures_or_steps_is_checked(command: Command, pictures: Path) -> None:
    assert train(command, "gan", pictures).status == 0
    ran = command("train", "gan", "--data", str(pictures), "--size", "8", "--steps", "2", "--run", "run", *OWN)
    assert ran.status == 0 and "2/2" in ran.err, ran.err
    card = Path("run/bundle/README.md").read_text()
    refused_by(train(command, "gan", pictures, "--size", "16"), "size was 8 and is 16; choose another --run")
    Image.new("RGB", (9, 7), "green").save(pictures / "red" / "1.png")
    refused_by(train(command, "gan", pictures), "was begun with other data: other pictures; choose another --run")
    assert Path("run/bundle/README.md").read_text() == card


def test_train_asks_whose_pictures_they_are_and_the_model_remembers(command: Command, pictures: Path) -> None:
    arguments = ("train", "gan", "--data", str(pictures), "--size", "8", "--steps", "1", "--run", "run")
    ran = command(*arguments)
    assert ran.status == 0 and "4 of 4 training pictures name no licence. They are taken for your own" in ran.err
    assert "4 of 4 training pictures name no licence." in Path("run/bundle/README.md").read_text("utf-8")
    shutil.rmtree("run")
    (pictures / "metadata.jsonl").write_text('{"file_name": "red/1.png", "license": "CC0", "author": "Ann"}')
    Path("no.txt").write_text("author: Ann")
    ran = command(*arguments, "--allow-unlicensed", "--opt-out", "no.txt")
    assert ran.status == 0 and "left out: red/1.png is opted out: its author Ann is on the list" in ran.err
    assert "3 of 3 training pictures name no licence." in Path("run/bundle/README.md").read_text("utf-8")
    seen = json.loads(command("rights", "who-saw", str(pictures / "red" / "2.png"), "--among", "run", "--json").out)
    assert seen["seen_by"][0] | {"name": "red/2.png", "kind": "same file"} == seen["seen_by"][0]


def test_train_with_a_hopeless_budget_names_one_that_works(command: Command, pictures: Path) -> None:
    ran = command("train", "gan", "--data", str(pictures), "--size", "8", "--minutes", "0.001", "--run", "run", *OWN)
    refused_by(ran, "gan cannot learn to draw in 0.06 s: a step of its network takes")
    assert re.search(r"--minutes \d+ would do", ran.err) and not list(Path("run").glob("*/checkpoints"))


def refused_by(ran: Any, says: str) -> None:
    """Refused after some lines of progress."""
    assert ran.status == 2 and ran.out == "" and says in ran.err.splitlines()[-1], ran.err


def test_train_on_a_folder_gives_a_model_that_draws(command: Command, pictures: Path) -> None:
    (pictures / "broken.png").write_bytes(b"")
    ran = train(command, "ddim", pictures)
    assert ran.status == 0 and "sumi generate PROMPT --model run/bundle" in ran.out
    assert "left out: cannot read the picture mine/broken.png" in ran.err.replace(str(pictures.parent) + "/", "")
    assert "4 pictures to learn from, 1 left out; run/data.json names them all" in ran.err
    assert "broken.png" in json.loads(Path("run/data.json").read_text())["broken"][0]
    again = train(command, "ddim", pictures)
    assert again.status == 0  # and goes on where it was, which is the end
    (pictures / "broken.png").unlink()
    refused(train(command, "ddim", pictures, "--no-resume"), "holds a run already")

    options = ["--model", "run/bundle", "--steps", "2", "-n", "2", "--seed", "5", "--background", "#ffffff", "--json"]
    report = json.loads((ran := command("generate", "a red fox", *options)).out)
    assert ran.err == "note: a ddim model hears no words: the prompt only names the file\n"
    assert report["notes"] and [image["seed"] for image in report["images"]] == [5, 6]
    image, recipe = read_recipe(report["images"][0]["path"])
    assert image.size == (8, 8) and image.mode == "RGB" and recipe.stages["network"].steps == 2
    replayed = command("replay", report["images"][1]["path"], "--model", "run/bundle")
    assert replayed.status == 0 and replayed.out.endswith("identical\n")
    for arguments, says in {
        ("vary", report["images"][0]["path"]): "a ddim model draws and cannot vary",
        ("generate", "a", "--guidance", "2"): "a ddim model has no guidance to set",
        ("generate", "a", "--best-of", "2"): "a ddim model has no best-of to set",
        ("generate", "a", "--size", "64"): "choose one of 8",
        ("generate", "a", "--frames"): "shows no steps",
        ("rank", report["images"][0]["path"], "--prompt", "a"): "cannot rank",
        ("classify", report["images"][0]["path"], "--labels", "a,b"): "cannot classify",
        ("exam",): "no two concepts in common",
    }.items():
        ran = command(*arguments, "--model", "run/bundle")
        assert ran.status == 2 and says in ran.err.splitlines()[-1], ran


def test_train_takes_labels_from_sub_folders(command: Command, pictures: Path) -> None:
    assert train(command, "classifier_free", pictures).status == 0
    options = ["--model", "run/bundle", "--steps", "1", "--seed", "1", "--json"]
    drawn = [json.loads(command("generate", prompt, *options).out) for prompt in ("red", "The Blue One", "a red")]
    assert all(report["notes"] == [] for report in drawn)
    refused(command("generate", "a rod", *options[:-1]), "'a rod' is none: it knows blue one, red; did you mean red?")


def test_generate_names_words_the_model_never_saw(
    command: Command, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sumi.systems.vqvae.TokenObjective.picture", lambda *_: None)
    for path in pictures.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"a {path.parent.name} square")
    ran = command("train", "dalle1", "--data", str(pictures), "--size", "8", "--steps", "1", "--run", "words", *OWN)
    assert ran.status == 0, ran.err
    ran = command("generate", "a redd square", "--model", "words/bundle", "--seed", "1")
    assert ran.status == 0 and "note: drawn as: a red square (red for redd)" in ran.err


def test_damaged_bundle_is_named(command: Command, pictures: Path) -> None:
    train(command, "gan", pictures)
    path = Path("run/bundle/model_index.json")
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "settings": {"size_px": "large"}}))
    refused(command("generate", "a", "--model", "run/bundle"), "size_px in the settings should be a number")
    index.pop("network")
    path.write_text(json.dumps(index))
    refused(command("generate", "a", "--model", "run/bundle"), "is no whole gan model: it has no network")


def test_train_with_bad_data_prints_one_line(command: Command, pictures: Path) -> None:
    Image.new("RGB", (4, 4)).save(pictures / "loose.png")
    (pictures.parent / "bare").mkdir()
    Image.new("RGB", (4, 4)).save(pictures.parent / "bare" / "loose.png")
    for path in list(pictures.rglob("*/*.png"))[1:]:
        path.unlink()
    cases: Mapping[tuple[str, ...], str] = {
        ("ddpm", "--data", "absent"): "there is no folder 'absent'",
        ("ddpm",): "no artwork under artwork",
        ("ddpm", "--data", "mine", "--steps", "1", "--minutes", "1"): "give --steps or --minutes, not both",
        ("ddpm", "--data", "mine", "--device", "abacus"): "there is no device 'abacus' here",
        ("ddpm", "--data", "mine", "--size", "4"): "Invalid value for '--size'",
        ("dalle1", "--data", "bare"): "dalle1 learns from captions, and none of the 1",
        ("classifier_free", "--data", "bare"): "classifier_free learns from labels, and none of the 1",
        (
            "unclip",
            "--data",
            "mine",
            "--from-scratch",
            "--size",
            "16",
        ): "unclip needs at least 2 pictures to learn from, and mine has 1",
        ("edm", "--data", "mine", "--size", "33"): "side is a multiple of 4 px, not 33: try --size 32",
        ("latent", "--data", "mine", "--size", "20"): "side is a multiple of 8 px, not 20: try --size 16",
        ("vqvae", "--data", "mine", "--size", "52"): "side is a multiple of 16 px, not 52: try --size 48",
        ("paint",): "No such command 'paint'",
    }
    for arguments, says in cases.items():
        ran = command("train", *arguments, *(OWN if "--data" in arguments else ()))
        assert ran.status == 2 and says in ran.err.splitlines()[-1], (arguments, ran.err)


def test_lineage_writes_a_page_and_survives_a_failure(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_artwork(tmp_path / "artwork")
    monkeypatch.setattr(material, "COUNT", 8)
    monkeypatch.setattr(sumi.cli.lineage, "NUM_TRUE", 16)
    monkeypatch.setattr(runner, "MAX_SAMPLING_STEPS", 2)

    class Failing(Method):
        stages = ("network",)

        def objective(self, *_: object) -> Any:
            raise ZeroDivisionError("no luck")

        def pipeline(self, *_: object) -> Any: ...

    whole = type(SYSTEMS["edm"]).method
    monkeypatch.setattr(type(SYSTEMS["edm"]), "method", lambda row: Failing() if row.name == "edm" else whole(row))
    Path("systems").mkdir()
    Path("systems/one.md").write_text("my words\n<!-- sumi lineage: ddim, edm -->\nold\n<!-- end -->\n")
    arguments = [
        "lineage",
        "--minutes",
        "0.01",
        "--size",
        "8",
        "-n",
        "16",
        "--only",
        "ddim, flow_matching,edm",
        "--out",
        "page",
    ]
    ran = command(*arguments)
    assert ran.status == 1 and ran.out == "page/index.html\n", ran.err
    assert "edm: failed: ZeroDivisionError: no luck" in ran.err and ran.err.endswith("failed: edm\n")

    record = json.loads(Path("page/lineage.json").read_text())
    rows = {row["name"]: row for row in record["systems"]}
    assert list(rows) == ["ddim", "edm", "flow_matching"] and rows["edm"]["error"] == "ZeroDivisionError: no luck"
    assert record["terms"]["n"] == 16 and record["truth"]["quality"]["num_true"] == 16
    assert rows["ddim"]["walk"] == "2 of 50" and rows["flow_matching"]["asked"] is None
    assert rows["ddim"]["over_seeds"]["count"] == 3 and record["terms"]["luck"]["n"] == 16
    kids = rows["ddim"]["over_seeds"]["kid"]
    assert kids["least"] < kids["most"] and kids["least"] <= rows["ddim"]["quality"]["kid"] <= kids["most"]
    assert record["truth"]["nearest"] > 0 and rows["ddim"]["nearest"] > 0
    assert rows["ddim"]["train_s"] > 0 and rows["ddim"]["parameters"] > 1e4
    assert "| `ddim` | " in Path("systems/one.md").read_text() and "my words" in Path("systems/one.md").read_text()
    page = Path("page/index.html").read_text("utf-8")
    assert "<script" not in page and "http" not in page and "prefers-color-scheme: dark" in page
    for name in ("truth", "ddim", "flow_matching"):
        assert f'src="{name}.png"' in page
        with Image.open(f"page/{name}.png") as strip:
            assert strip.size == (8 * 26 - 2, 2 * 26 - 2) and strip.mode == "RGBA"
    assert "Failed: ZeroDivisionError: no luck" in page

    again: list[str] = []

    def enter(row: System, *_: object) -> bool:
        again.append(row.name)
        raise SumiError("still no luck")

    monkeypatch.setattr(runner, "train_entry", enter)
    ran = command(*arguments, "--minutes", "9")  # what is done is done, and the time is that of the beginning
    assert again == ["edm"] and "this run gives each system 0 s, as when it started" in ran.err
    later = {row["name"]: row for row in json.loads(Path("page/lineage.json").read_text())["systems"]}
    assert later["edm"]["error"] == "still no luck" and later["ddim"] == rows["ddim"] and ran.status == 1

    shown: list[str] = []
    draw = runner.sample_entry
    monkeypatch.setattr(runner, "sample_entry", lambda row, *rest: (shown.append(row.name), draw(row, *rest))[1])
    ran = command(*arguments, "--redraw")  # nothing is trained, and what was trained is drawn as it was
    assert again == ["edm"] and shown == 3 * ["ddim"] + 3 * ["flow_matching"] and ran.status == 1
    redrawn = {row["name"]: row for row in json.loads(Path("page/lineage.json").read_text())["systems"]}
    assert redrawn["ddim"]["quality"] == rows["ddim"]["quality"] and redrawn["edm"]["error"] == "still no luck"
    refused(command(*arguments[:-4], "--only", "gan,nobody"), "--only names nobody; see `sumi systems`")
    refused(command("lineage", "--size", "16"), "was started with size_px = 8, not 16")
    refused(command(*arguments, "--no-resume"), "already holds a lineage")


def test_lineage_strip_has_two_rows_of_eight() -> None:
    from sumi.lineage.benchmark import sample_strip

    some = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 4, 2, 2).contiguous()
    page = sample_strip(some)
    assert page.shape == (4, 2 * 8 - 2, 8 * 8 - 2)
    assert page[0, 0, ::8].tolist() == list(range(8)) and page[0, 8, ::8].tolist() == list(range(8, 16))
    assert page[0, 5, 5] == 0 and page[3, 0, 14] == 0  # two pixels of nothing between them


def test_lineage_limits_the_number_of_steps() -> None:
    assert runner.count_sampling_steps(SYSTEMS["gan"].method()) is None
    for name, own, hurried in (
        ("ddpm", 1000, 100),
        ("ncsn", 1000, 100),
        ("classifier_free", 1000, 100),
        ("edm", 18, 18),
    ):
        method = SYSTEMS[name].method()
        assert (
            runner.count_sampling_steps(method),
            runner.count_sampling_steps(runner.limit_sampling_steps(method)),
        ) == (own, hurried)
