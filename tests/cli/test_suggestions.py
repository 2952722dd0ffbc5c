"""Suggestions for mistyped commands and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["genrate", "a red fox", "--seed", "7"], 'sumi generate "a red fox" --seed 7'),
        (["Generate", "fox"], "sumi generate fox"),
        (["a red fox"], 'sumi generate "a red fox"'),
        (["a", "red", "fox", "-n", "3"], 'sumi generate "a red fox" -n 3'),
        (["fox"], 'sumi generate "fox"'),
        (["🦊"], 'sumi generate "🦊"'),
        (["a $5 hat"], "sumi generate 'a $5 hat'"),
        (["paint", "an owl"], 'sumi generate "an owl"'),
        (["x" * 1000], "sumi generate ..."),
        (["help", "vary"], "sumi vary --help"),
        (["train", "edmm", "--minutes", "3"], "sumi train edm --minutes 3"),
        (["keys", "crete", "ada"], "sumi keys create ada"),
        (["data", "previw"], "sumi data preview"),
        (["exam", "memry"], "sumi exam memory"),
    ],
)
def test_unknown_command_suggests_the_nearest(typed: list[str], meant: str, command: Command) -> None:
    ran = command(*typed)
    assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert ran.err.endswith(f"Did you mean: {meant}?\n") and len(ran.err) < 300


def test_unknown_command_without_a_near_one_names_the_help(command: Command) -> None:
    assert command("keys", "zzz").err == "error: No such command 'zzz'. `sumi keys --help` lists the commands.\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["generate", "fox", "--stps", "3"], "--steps"),
        (["generate", "fox", "--best_of", "3"], "--best-of"),
        (["vary", "fox.png", "--guidence", "3"], "--guidance"),
        (["train", "edm", "--minute", "3"], "--minutes"),
        (["exam", "edits", "--onli", "blends"], "--only"),
    ],
)
def test_unknown_option_suggests_the_nearest(typed: list[str], meant: str, command: Command) -> None:
    ran = command(*typed)
    assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert "No such option" in ran.err and meant in ran.err.split("Did you mean")[1]


def test_option_before_the_command_is_explained(command: Command) -> None:
    ran = command("--seed", "7", "a red fox")
    assert ran.status == 2 and 'options follow the command, as in: sumi generate "a red fox" --seed 7' in ran.err
