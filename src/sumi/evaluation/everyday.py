"""Everyday prompts: whether the note of each is right, and whether the thing that is known is in the picture.

`everyday_prompts.tsv` holds 100 prompts, written before anybody looked at the vocabulary: each with the note that is
right for it, and the concepts that its picture should then show, the main one first. The judge, which had no part in
making the pictures, looks for the main one among as many things as the prompt names.
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
from sumi.evaluation.exam import at_judged_size
from sumi.evaluation.intervals import Share
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import from_image
from sumi.imaging.png import save_png
from sumi.judge.network import Judge, judge_pictures
from sumi.pipelines import Picture, Request
from sumi.pipelines.interpreted import UnknownPromptError
from sumi.pipelines.request import LARGEST_SEED
from sumi.systems.unclip.artist import Sumi

PROMPTS = "everyday_prompts.tsv"
REFUSED = "refused"


@dataclass(frozen=True)
class Everyday:
    """One prompt. note: the right one, REFUSED where nothing is known. things: to be seen, the main one first."""

    prompt: str
    note: str
    things: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a model made of a prompt. seen: what the judge took the picture for; picture: None where it was refused."""

    asked: Everyday
    note: str
    picture: Image.Image | None = None
    seen: tuple[str, ...] = ()

    @property
    def noted(self) -> bool:
        """Whether the note is right."""
        return self.note == self.asked.note

    @property
    def drawn(self) -> bool:
        """Whether the main thing is seen."""
        return self.asked.things[0] in self.seen if self.asked.things else False


def everyday_prompts() -> list[Everyday]:
    """The list, in its written order."""
    lines = (resources.files("sumi.evaluation") / PROMPTS).read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [Everyday(prompt, note, tuple(filter(None, things.split(", ")))) for prompt, note, things in rows]


def note_of(artist: Sumi, prompt: str) -> str:
    """The note that a model gives, REFUSED where it refuses."""
    try:
        return " | ".join(artist.notes(Request(prompt)))
    except UnknownPromptError:
        return REFUSED


def answers(
    artist: Sumi, judge: Judge, asked: Sequence[Everyday], seed: int, progress: Callable[[int, int], None]
) -> Iterator[Answer]:
    """Draw each prompt once, prompt k from seed + k, and let the judge look."""
    for number, one in enumerate(asked):
        note = note_of(artist, one.prompt)
        progress(number + 1, len(asked))
        if note == REFUSED:
            yield Answer(one, note)
            continue
        request = Request(one.prompt, seed=(seed + number) % LARGEST_SEED, size=artist.pipeline.size_px)
        (picture,) = [event for event in artist.stream(request) if isinstance(event, Picture)]
        levels = at_judged_size(from_image(picture.image, picture.image.width)[None])
        best = judge_pictures(judge, levels).best(max(1, len(one.things)))[0].tolist()
        yield Answer(one, note, picture.image, tuple(judge.names[number] for number in best))


def rows(found: Sequence[Answer]) -> list[tuple[str, Share]]:
    """How many notes are right, and in how many pictures the main thing is seen."""
    hold_one = [answer for answer in found if answer.asked.things]
    return [
        ("note is right", Share.of(answer.noted for answer in found)),
        ("known thing is drawn", Share.of(answer.drawn for answer in hold_one)),
    ]


def save(found: Sequence[Answer], folder: Path) -> list[Path]:
    """Write a sheet of the pictures and a record of every prompt."""
    drawn = [answer for answer in found if answer.picture is not None]
    signs = [
        f"{'+' if answer.drawn or not answer.asked.things else '-'} {answer.asked.prompt[:24]}" for answer in drawn
    ]
    page = contact_sheet([answer.picture for answer in drawn if answer.picture is not None], signs)
    record: list[dict[str, Any]] = [
        {
            "prompt": answer.asked.prompt, "note": answer.note, "right_note": answer.asked.note,
            "things": answer.asked.things, "seen": answer.seen, "drawn": answer.drawn,
        }
        for answer in found
    ]  # fmt: skip
    paths = [folder / "everyday.json", folder / "everyday.png"]
    write_atomic(paths[0], json.dumps({"rows": {n: s.to_json() for n, s in rows(found)}, "prompts": record}, indent=1))
    save_png(paths[1], page)
    return paths
