"""Interpretation: every text of a task is rewritten in words that the model was trained on.

task -> each text interpreted -> task in known words        no known word -> UnknownPromptError
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sumi.conditioning import Interpretation
from sumi.errors import SumiError
from sumi.pipelines.request import Task

__all__ = ["AnyTask", "UnknownPromptError", "interpreted", "notes_of"]

AnyTask = TypeVar("AnyTask", bound=Task)


class UnknownPromptError(SumiError):
    """A prompt of which the model knows nothing. suggestions: prompts that would work."""

    def __init__(self, message: str, suggestions: Sequence[str]) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


def interpreted(task: AnyTask, read: Callable[[str], Interpretation]) -> AnyTask:
    """Return a task with each text as it is drawn; UnknownPromptError for a text without a known word.

    A negative prompt without a known word is left out. With `anyway` any other text is drawn as it is.
    """
    found: dict[str, Interpretation] = {}
    for name, text in task.named_texts.items():
        one = read(text)
        if name == "negative" and not one.known:
            one = replace(one, drawn_as="")
        elif not one.known and not task.anyway:
            raise UnknownPromptError(one.refusal, one.suggestions)
        if one.note is not None:
            found[name] = replace(one, prompt=getattr(task, name))
    as_drawn: dict[str, Any] = {name: one.drawn_as for name, one in found.items()}
    return replace(task, interpretations=tuple(found.items()), **as_drawn)


def notes_of(task: Task) -> list[str]:
    """Return a line for each text of a task that is drawn in other words."""
    lines = ((name, one.note) for name, one in task.interpretations)
    return [f"{note}" if name == "prompt" else f"{name}: {note}" for name, note in lines]
