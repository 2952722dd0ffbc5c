"""The exam of everyday prompts: whether notes about unknown words are right, and whether pictures show the rest.

`everyday_prompts.tsv` holds 100 prompts that were written without knowledge of the vocabulary. Each has the right note
and the concepts that its picture should show, the main one first. `everyday_prompts_wide.tsv` holds the same prompts
with the notes and concepts of the wide vocabulary. The judge must find the main concept among its most likely ones, as
many as the prompt names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from sumi.atomic_file import write_atomic
from sumi.evaluation.exam import resize_for_judge
from sumi.evaluation.intervals import Share
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import from_image
from sumi.imaging.png import save_png
from sumi.judge.network import Judge, judge_pictures
from sumi.pipelines import Picture, Request
from sumi.pipelines.interpreted import UnknownPromptError
from sumi.systems.unclip.artist import Sumi

__all__ = [
    "EverydayPrompt",
    "EverydayResult",
    "load_everyday_prompts",
    "run_everyday_exam",
    "save_everyday_exam",
    "summarize_everyday_exam",
]

PROMPTS, WIDE_PROMPTS = "everyday_prompts.tsv", "everyday_prompts_wide.tsv"
REFUSED = "refused"


@dataclass(frozen=True)
class EverydayPrompt:
    """One prompt.

    Args:
        prompt: the text.
        note: the right note, or `REFUSED` where the model knows none of it.
        things: the concepts to show, the main one first.
    """

    prompt: str
    note: str
    things: tuple[str, ...]


@dataclass(frozen=True)
class EverydayResult:
    """What a model drew for a prompt.

    Args:
        asked: the prompt.
        note: the note that the model gave.
        picture: None where the model refused the prompt.
        seen: the concepts that the judge finds most likely.
    """

    asked: EverydayPrompt
    note: str
    picture: Image.Image | None = None
    seen: tuple[str, ...] = ()

    @property
    def note_is_right(self) -> bool:
        """Whether the model gave the right note."""
        return self.note == self.asked.note

    @property
    def shows_main_thing(self) -> bool:
        """Whether the judge sees the main concept."""
        return self.asked.things[0] in self.seen if self.asked.things else False


def load_everyday_prompts(vocabulary: str = "everyday") -> list[EverydayPrompt]:
    """Return the prompts in the order of the file, with the notes that are right by the everyday or wide vocabulary."""
    name = WIDE_PROMPTS if vocabulary == "wide" else PROMPTS
    lines = (resources.files("sumi.evaluation") / name).read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [EverydayPrompt(prompt, note, tuple(filter(None, things.split(", ")))) for prompt, note, things in rows]


def find_note(artist: Sumi, prompt: str) -> str:
    """Return the note that a model gives for a prompt, or `REFUSED`."""
    try:
        return " | ".join(artist.notes(Request(prompt)))
    except UnknownPromptError:
        return REFUSED


def run_everyday_exam(
    artist: Sumi, judge: Judge, asked: Sequence[EverydayPrompt], seed: int, progress: Callable[[int, int], None]
) -> Iterator[EverydayResult]:
    """Draw each prompt once, prompt k from seed + k, and yield what the judge sees."""
    for number, prompt in enumerate(asked):
        note = find_note(artist, prompt.prompt)
        progress(number + 1, len(asked))
        if note == REFUSED:
            yield EverydayResult(prompt, note)
            continue
        request = Request(prompt.prompt, seed=seed + number, size=artist.pipeline.size_px)
        (picture,) = [event for event in artist.stream(request) if isinstance(event, Picture)]
        levels = resize_for_judge(from_image(picture.image, picture.image.width)[None])
        best = judge_pictures(judge, levels).best(max(1, len(prompt.things)))[0].tolist()
        yield EverydayResult(prompt, note, picture.image, tuple(judge.names[number] for number in best))


def summarize_everyday_exam(results: Sequence[EverydayResult]) -> list[tuple[str, Share]]:
    """Return the share of right notes, and of pictures that show the main concept."""
    hold_one = [result for result in results if result.asked.things]
    return [
        ("note is right", Share.of(result.note_is_right for result in results)),
        ("known thing is drawn", Share.of(result.shows_main_thing for result in hold_one)),
    ]


def save_everyday_exam(results: Sequence[EverydayResult], folder: Path) -> list[Path]:
    """Write a record of every prompt and a contact sheet; return their paths."""
    drawn = [result for result in results if result.picture is not None]
    captions = [
        f"{'+' if result.shows_main_thing or not result.asked.things else '-'} {result.asked.prompt[:24]}"
        for result in drawn
    ]
    page = contact_sheet([result.picture for result in drawn if result.picture is not None], captions)
    record: list[dict[str, Any]] = [
        {
            "prompt": result.asked.prompt, "note": result.note, "right_note": result.asked.note,
            "things": result.asked.things, "seen": result.seen, "drawn": result.shows_main_thing,
        }
        for result in results
    ]  # fmt: skip
    paths = [folder / "everyday.json", folder / "everyday.png"]
    rows = {name: share.to_json() for name, share in summarize_everyday_exam(results)}
    write_atomic(paths[0], json.dumps({"rows": rows, "prompts": record}, indent=1))
    save_png(paths[1], page)
    return paths
