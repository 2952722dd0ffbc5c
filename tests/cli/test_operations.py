"""A new setting or a new kind of task appears on the command line, in the HTTP API and on the reference page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from sumi.cli import operations
from sumi.cli.operations import make_command
from sumi.cli.reference import make_reference_page
from sumi.pipelines.option import choice, flag, margins, number, required_text
from sumi.pipelines.request import Task
from sumi.pipelines.tasks import TASKS
from sumi.serving.schemas import make_job_body

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True, repr=False)
class Crumple(Task):
    """An operation that does not exist."""

    operation = "crumple"
    summary = "Crumple two pictures."
    num_images = 2
    without = ("prompt", "negative", "sampler", "prior", "anyway", "n")

    motive: str = required_text("Why.")
    force: float = number(0.5, 0.0, 2.0, "How hard.")
    paper: str = choice("plain", ["plain", "glossy"], "Which paper.")
    twice: bool = flag("Do it again.")
    edges: tuple[int, int, int, int] = margins(9, "How far.")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Task, list[str]]]]:
    """The tasks that commands run, with their pictures."""
    ran: list[tuple[Task, list[str]]] = []
    monkeypatch.setattr(operations, "run_task", lambda task, images, **output: ran.append((task, images)))
    yield ran


def test_command_of_a_new_task_takes_its_pictures_and_settings(drawn: list[tuple[Task, list[str]]]) -> None:
    arguments = [
        "a.png",
        "b.png",
        "--motive",
        "rage",
        "--force",
        "2",
        "--paper",
        "glossy",
        "--twice",
        "--edges",
        "1,2,3,4",
    ]
    ran = CliRunner().invoke(make_command(Crumple), [*arguments, "--seed", "7"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    task = Crumple(motive="rage", force=2.0, paper="glossy", twice=True, edges=(1, 2, 3, 4), seed=7)
    assert drawn == [(task, ["a.png", "b.png"])]


def test_command_of_a_new_task_without_a_required_setting_is_refused(drawn: list[tuple[Task, list[str]]]) -> None:
    ran = CliRunner().invoke(make_command(Crumple), ["a.png", "b.png"])
    assert ran.exit_code == 2 and "Missing option '--motive'" in ran.output and drawn == []


def test_help_of_a_new_task_shows_its_summary_and_defaults() -> None:
    shown = CliRunner().invoke(make_command(Crumple), ["--help"]).output
    assert "Crumple two pictures." in shown and "A B" in shown
    assert "How hard.  [default: 0.5]" in shown and "--n " not in shown


def test_job_body_of_a_new_task_takes_its_settings_within_their_bounds() -> None:
    body = make_job_body({**TASKS, "crumple": Crumple})
    job = body.model_validate({"kind": "crumple", "motive": "rage", "force": 2.0, "edges": [1, 2, 3, 4]})
    assert job.settings == {"motive": "rage", "force": 2.0, "edges": [1, 2, 3, 4]}
    for bad in ({"force": 2.1}, {"edges": [1, 2, 3]}, {"edges": [1, 2, 3, 10]}, {"twice": "yes"}, {"haste": 1}):
        with pytest.raises(ValidationError):
            body.model_validate({"kind": "crumple", "motive": "rage", **bad})
    with pytest.raises(ValidationError, match="choose one of generate"):
        body.model_validate({"kind": "fold"})


def test_reference_of_a_new_task_lists_its_settings() -> None:
    page = make_reference_page({"crumple": Crumple})
    assert "Crumple two pictures. It takes two pictures." in page
    assert "| `force` | `--force` | 0.0 to 2.0; default 0.5 | How hard. |" in page
    assert "| `motive` | `--motive` | text; required | Why. |" in page


def test_reference_page_in_the_docs_is_up_to_date() -> None:
    assert (DOCS / "operations.md").read_text("utf-8") == make_reference_page(TASKS), (
        "run: python -m sumi.cli.reference"
    )


@pytest.mark.parametrize("name", TASKS)
def test_command_of_every_task_has_an_option_for_each_setting(name: str) -> None:
    parameters = {parameter.name for parameter in make_command(TASKS[name]).params}
    assert TASKS[name].schema().keys() <= parameters
    assert all(option.help for option in make_command(TASKS[name]).params if isinstance(option, click.Option))
