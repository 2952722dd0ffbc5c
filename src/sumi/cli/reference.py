"""The reference of operations, made from the settings of their tasks.

python -m sumi.cli.reference > docs/operations.md
"""

from __future__ import annotations

from collections.abc import Mapping

from sumi.cli.options import make_flag
from sumi.pipelines.option import Option
from sumi.pipelines.request import Task
from sumi.pipelines.tasks import TASKS

__all__ = ["make_reference_page"]

INTRODUCTION = """\
# Operations and their settings

The tasks declare these settings. The command line, the body of `POST /v1/jobs` and this page derive from them
(`python -m sumi.cli.reference > docs/operations.md`).

Each operation is a method of an artist in Python, a command of `sumi`, and a `kind` of `POST /v1/jobs`.
"""
PICTURES = {0: "no picture", 1: "one picture", 2: "two pictures"}


def make_reference_page(tasks: Mapping[str, type[Task]]) -> str:
    """Return a page in Markdown with a table of settings for each kind of task."""
    return "\n".join([INTRODUCTION, *(make_section(kind) for kind in tasks.values())])


def make_section(kind: type[Task]) -> str:
    """Return the section of one kind of task."""
    lines = [f"## {kind.operation}", "", f"{kind.summary} It takes {PICTURES[kind.num_images]}.", ""]
    lines += ["| setting | command line | values | |", "|---|---|---|---|"]
    for name, option in kind.schema().items():
        place = "`PROMPT`" if name == "prompt" else f"`{make_flag(name)}`"
        lines.append(f"| `{name}` | {place} | {describe_values(option)} | {option.help} |")
    return "\n".join([*lines, ""])


def describe_values(option: Option) -> str:
    """Return what a setting may be, and its default."""
    if option.choices:
        values = " or ".join(option.choices)
    elif option.kind is bool:
        values = "on or off"
    elif option.kind is str:
        values = "text" if option.pattern is None else "a name or a colour"
    else:
        values = f"{option.minimum:,} to {option.maximum:,}" + (", four times" if option.kind is tuple else "")
    if option.required:
        return f"{values}; required"
    return values if option.default in (None, "", False, (0, 0, 0, 0)) else f"{values}; default {option.default}"


if __name__ == "__main__":
    print(make_reference_page(TASKS), end="")
