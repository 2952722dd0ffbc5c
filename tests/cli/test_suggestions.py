"""What is typed nearly right is answered with the line that is right."""

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
def test_a_command_that_is_not_there_is_answered_with_the_one_meant(
    typed: list[str], meant: str, command: Command
) -> None:
    ran = command(*typed)
    assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert ran.err.endswith(f"Did you mean: {meant}?\n") and len(ran.err) < 300


def test_where_nothing_is_near_the_help_is_named(command: Command) -> None:
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
def test_an_option_that_is_not_there_is_answered_with_the_one_meant(
    typed: list[str], meant: str, command: Command
) -> None:
    ran = command(*typed)
    assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1
    assert "No such option" in ran.err and meant in ran.err.split("Did you mean")[1]


def test_an_option_before_the_command_is_told_its_place(command: Command) -> None:
    ran = command("--seed", "7", "a red fox")
    assert ran.status == 2 and 'options follow the command, as in: sumi generate "a red fox" --seed 7' in ran.err
