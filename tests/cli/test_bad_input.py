"""Bad input gets one line on stderr and status 2, before anything is drawn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

Command = Callable[..., Any]

CASES: dict[str, tuple[list[str], str]] = {
    "empty prompt": (["generate", ""], "the prompt is empty"),
    "blank prompt": (["generate", " \t\n"], "the prompt is empty"),
    "invisible prompt": (["generate", "\u200b\x07"], "the prompt is empty"),
    "unknown words": (["generate", "zorblax"], "knows nothing of 'zorblax'"),
    "unknown words and a way out": (["generate", "zorblax"], "; use --anyway to draw it as it is"),
    "no prompt": (["generate"], "Missing argument 'PROMPT'"),
    "endless prompt": (["generate", "x" * 100_000], "100,000 characters, and at most 4,000"),
    "no pictures": (["generate", "fox", "-n", "0"], "n should be a whole number from 1 to 64"),
    "too many pictures": (["generate", "fox", "-n", "65"], "from 1 to 64"),
    "half a picture": (["generate", "fox", "-n", "0.5"], "not a valid integer"),
    "huge integer": (["generate", "fox", "-n", "9" * 4000], "n should be"),
    "unknown size": (["generate", "fox", "--size", "100"], "unknown size '100': choose one of 16, 32"),
    "unknown sampler": (["generate", "fox", "--sampler", "hoin"], "did you mean heun?"),
    "no such prior": (["generate", "fox", "--prior", "ar"], "no prior of the kind 'ar': it has diffusion"),
    "unknown prior": (["generate", "fox", "--prior", "both"], "unknown prior 'both': choose one of diffusion, ar"),
    "hostile sampler": (["generate", "fox", "--sampler", "\x1b[2J\nhi"], "unknown sampler '\\x1b[2J\\nhi'"),
    "no steps": (["generate", "fox", "--steps", "0"], "steps should be"),
    "NaN guidance": (["generate", "fox", "--guidance", "nan"], "guidance should be"),
    "unknown colour": (["generate", "fox", "--background", "pink"], "a colour such as #ffd700"),
    "fewer than asked": (["generate", "fox", "-n", "3", "--best-of", "2"], "best-of should be"),
    "negative seed": (["generate", "fox", "--seed", "-1"], "seed should be"),
    "unknown option": (["generate", "fox", "--colour", "red"], "No such option"),
    "unknown command": (["paint"], "No such command 'paint'"),
    "folder under a file": (["generate", "fox", "--out", "file.txt/here"], "cannot write into the folder"),
    "folder that cannot be": (["generate", "fox", "--out", "/proc/here"], "cannot write into the folder '/proc/here'"),
    "no model": (["generate", "fox", "--model", "absent"], "there is no model in 'absent'"),
    "a model named to clear the screen": (["rank", "white.png", "--prompt", "a", "--model", "\x1b[2J"], "\\x1b[2J"),
    "a picture named to clear the screen": (["rank", "\x1b[2J.png", "--prompt", "a"], "\\x1b[2J.png"),
    "a file for a model": (["generate", "fox", "--model", "file.txt"], "there is no model in 'file.txt'"),
    "no such picture": (["rank", "absent.png", "--prompt", "fox"], "absent.png: No such file"),
    "no picture at all": (["classify", "file.txt", "--labels", "a,b"], "not one of PNG, JPEG, WEBP, GIF"),
    "no prompt to rank by": (["rank", "file.txt", "--prompt", ""], "the prompt is empty"),
    "one label": (["classify", "white.png", "--labels", "cat"], "needs 2 to 1000 different labels"),
    "a stranger's picture": (["replay", "white.png"], "only a PNG file that Sumi wrote"),
    "nothing to replay": (["replay", "absent.png"], "No such file"),
}


def check(ran: Any, says: str) -> None:
    assert ran.status == 2, ran.err
    assert ran.out == ""
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    assert says in ran.err, ran.err
    assert "Traceback" not in ran.err and "\x1b" not in ran.err


@pytest.mark.parametrize("case", CASES)
def test_command_with_bad_input_prints_one_line(case: str, command: Command, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "file.txt").write_text("hello")
    Image.new("RGB", (4, 4), "white").save(tmp_path / "white.png")
    arguments, says = CASES[case]
    check(command(*arguments), says)
    drawn = [path for path in tmp_path.rglob("*.png") if path.name != "white.png"]
    assert not drawn


def test_damaged_model_names_every_bad_tensor(command: Command, tmp_path: Path, tiny_folder: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    weights = load_file(folder / "prior" / "model.safetensors")
    weights["surplus"] = weights.pop("query")
    weights["out.bias"] = weights["out.bias"][:3].clone()
    save_file(weights, folder / "prior" / "model.safetensors")
    ran = command("generate", "fox", "--model", str(folder))
    check(ran, "missing query, unused surplus, misshapen out.bias (3 instead of 8)")


def test_truncated_model_is_named(command: Command, tmp_path: Path, tiny_folder: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    path = folder / "decoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    check(command("generate", "fox", "--model", str(folder)), "decoder/model.safetensors is truncated")


@pytest.mark.parametrize("kind", ["Painter", "../x", "os", "Unclip.os"])
def test_model_of_an_unknown_system_is_named(kind: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(f'{{"_class_name": "{kind}"}}')
    check(command("generate", "fox", "--model", str(tmp_path)), "unknown to Sumi")


def test_process_prints_the_same_line_as_the_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "sumi", "generate", ""], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: the prompt is empty: say what to draw, such as 'a red fox'\n"


def test_closed_pipe_ends_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sumi", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(300) in (0, 1)


def test_folder_with_an_undecodable_name_is_written_to(command: Command, tmp_path: Path) -> None:
    ran = command("generate", "fox", "--seed", "1", "--out", "caf\udce9")
    assert ran.status == 0 and ran.out == "caf\\udce9/fox-1.png\n"
