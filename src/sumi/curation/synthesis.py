"""Labelled pictures that a model draws, for classes of which a data set has too few.

    class -> prompt -> picture k from seed + k -> rejected, or a file and a row of metadata.jsonl

Each class is filled up to the same number of pictures, those that a data set has already counted. A picture is rejected
when the policy's checkers hold it back, when it is blank or equal to one before it, and where that is asked for, when
CLIP finds another class more probable (`agree`) or the prompt too far from the picture (`least_score`). Whether
picture k is accepted depends on nothing but the settings, so a stopped run goes on where it was, to the same set.

    OUT/fox/fox-7.png     marked and with its recipe, as `sumi generate` writes it
    OUT/metadata.jsonl    file_name, text, label, picture_by ("machine: ..."), seed, model, score, and more
    OUT/synthesis.json    the settings, and how far each class is
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError
from sumi.pipelines.events import Picture
from sumi.pipelines.prompt import clean, slug
from sumi.pipelines.request import Request
from sumi.pipelines.signing import mark_picture, sign_picture
from sumi.trust import ContentPolicyError
from sumi.trust.policy import load_policy

if TYPE_CHECKING:
    from sumi.pipelines import Artist

__all__ = ["Synthesis", "SynthesisPlan", "TargetClass", "count_labels", "parse_classes"]

LIST, RECORD = "metadata.jsonl", "synthesis.json"
PICTURE_BY = "picture_by"
BATCH = 8
TRIES = 4
"""Pictures drawn for each that is wanted, before a class is given up."""
Progress = Callable[[str, int, int], None]
"""Called with (class, pictures accepted, pictures wanted)."""


@dataclass(frozen=True)
class TargetClass:
    """A label, and the prompt that draws it."""

    label: str
    prompt: str


@dataclass(frozen=True)
class SynthesisPlan:
    """What decides whether a picture is in the set, the number of pictures apart.

    Attributes:
        classes: labels and prompts.
        seed: picture k of each class is drawn from seed + k.
        agree: reject a picture for which CLIP finds another of the classes more probable.
        least_score: reject a picture whose embedding has a smaller cosine to its prompt's.
        steps: of the decoder; None for the model's.
        model: hash of the model's weights.
    """

    classes: tuple[TargetClass, ...]
    seed: int = 0
    agree: bool = False
    least_score: float | None = None
    steps: int | None = None
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"classes": [asdict(one) for one in self.classes]}


def parse_classes(lines: Iterable[str]) -> tuple[TargetClass, ...]:
    """Return the classes of lines `label` or `label: prompt`; without a prompt, the label is drawn.

    Raises:
        SumiError: there is none, or a label is named twice.
    """
    found = []
    for line in filter(None, map(clean, lines)):
        label, _, prompt = (part.strip() for part in line.partition(":"))
        if not label or not slug(label):
            raise SumiError(f"{line!r} names no class: write a label, or a label and a prompt as in 'fox: a red fox'")
        found.append(TargetClass(label, prompt or label))
    if not found:
        raise SumiError("there are no classes: name some, as in --classes 'fox, owl', or a file with one a line")
    for name, count in Counter(slug(one.label) for one in found).items():
        if count > 1:
            raise SumiError(f"the class {name!r} is named {count} times")
    return tuple(found)


def count_labels(labels: Iterable[str], classes: Sequence[TargetClass]) -> dict[str, int]:
    """Return how many of some labels each class has, whatever their case."""
    counts = Counter(label.casefold() for label in labels)
    return {one.label: counts[one.label.casefold()] for one in classes}


@dataclass
class Synthesis:
    """A set that is being drawn into a folder.

    Attributes:
        artist: the model.
        plan: the settings.
        folder: where to.
        sign: add signed content credentials to every file.
        rows: the accepted pictures, as in metadata.jsonl.
        tried: pictures drawn of each class.
        rejected: how many pictures of each class were rejected, by the reason.

    Raises:
        SumiError: the folder holds anything else than this set, or the model cannot judge what the plan asks of it.
    """

    artist: Artist
    plan: SynthesisPlan
    folder: Path
    sign: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)
    tried: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.artist.embeds_with is None and (self.plan.agree or self.plan.least_score is not None):
            raise SumiError(f"the model {self.artist.model.name} has no CLIP to judge pictures with")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            self._resume()

    def _resume(self) -> None:
        """Read what is there; SumiError where that is not the beginning of this set."""
        try:
            record = json.loads((self.folder / RECORD).read_text("utf-8"))
            rows = [json.loads(line) for line in (self.folder / LIST).read_text("utf-8").splitlines()]
            done, plan = record["classes"], record["plan"]
            self.tried = {label: int(one["tried"]) for label, one in done.items()}
            self.rejected = {label: dict(one["rejected"]) for label, one in done.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise SumiError(f"{self.folder} holds no set that was synthesized: choose another --out") from None
        if differing := [name for name, value in self.plan.to_json().items() if plan.get(name) != value]:
            raise SumiError(
                f"{self.folder} was begun with another {differing[0].replace('_', '-')}: "
                "give the same settings to go on, or choose another --out"
            )
        ends = {row["label"]: self.plan.seed + self.tried.get(row["label"], 0) for row in rows}
        self.rows = [row for row in rows if row["seed"] < ends[row["label"]]]  # a stop may leave one uncounted
        kept = Counter(row["label"] for row in self.rows)
        if any(kept[label] + sum(self.rejected[label].values()) != tried for label, tried in self.tried.items()):
            raise SumiError(f"{self.folder / LIST} and {RECORD} beside it differ: choose another --out")

    def count(self, label: str) -> int:
        """Return how many pictures of a class were accepted."""
        return sum(row["label"] == label for row in self.rows)

    def row(self, label: str) -> dict[str, Any]:
        """Return how many pictures of a class were drawn, accepted and rejected, as JSON values."""
        rejected = self.rejected.get(label, {})
        return {"tried": self.tried.get(label, 0), "accepted": self.count(label), "rejected": rejected}

    def fill(self, wanted: Mapping[str, int], progress: Progress = lambda label, done, of: None) -> dict[str, int]:
        """Draw until each class has as many pictures as wanted, or `TRIES` times as many were drawn.

        Args:
            wanted: pictures of each class.
            progress: called after each picture.

        Returns:
            How many pictures each class lacks; nothing for a class that is full.
        """
        self._check_prompts()
        self._write_record()
        lacking = {}
        for one in self.plan.classes:
            need = wanted[one.label]
            seen = {row["pixels"] for row in self.rows if row["label"] == one.label}
            while (left := min(need - self.count(one.label), TRIES * need - self.tried.get(one.label, 0))) > 0:
                self._draw(one, min(BATCH, left), seen)
                progress(one.label, self.count(one.label), need)
            lacking[one.label] = need - self.count(one.label)
        return {label: missing for label, missing in lacking.items() if missing > 0}

    def _draw(self, one: TargetClass, n: int, seen: set[str]) -> None:
        """Draw the next n pictures of a class, and keep or reject each; after one that is held back, stop."""
        request = self._request(one, n)
        try:
            for event in self.artist.stream(request):
                if isinstance(event, Picture):
                    pixels = hashlib.sha256(event.image.tobytes()).hexdigest()[:32]
                    reason = "equal" if pixels in seen else self.fault(event, one)
                    if not reason:
                        self._keep(event, one, pixels)
                        seen.add(pixels)
                    self._count(one.label, reason)
        except ContentPolicyError:
            self._count(one.label, "policy")

    def _request(self, one: TargetClass, n: int = 1) -> Request:
        return Request(
            prompt=one.prompt, n=n, seed=self.plan.seed + self.tried.get(one.label, 0), steps=self.plan.steps
        )

    def _check_prompts(self) -> None:
        """Raise SumiError for a prompt of which the model knows nothing, or whose words the policy holds back."""
        for one in self.plan.classes:
            request = self.artist.interpreted(self._request(one))
            for text in request.drawn_texts():
                decision = load_policy().check_text(text, ("everywhere",))
                if decision.action != "allow":
                    reasons = [reason.code for reason in decision.reasons]
                    raise ContentPolicyError(decision.categories, reasons, "the words fall")

    def _count(self, label: str, reason: str) -> None:
        """Count a picture that was drawn, and why it was rejected, if it was."""
        if reason:
            counts = self.rejected.setdefault(label, {})
            counts[reason] = counts.get(reason, 0) + 1
        self.tried[label] = self.tried.get(label, 0) + 1
        self._write_record()

    def fault(self, picture: Picture, one: TargetClass) -> str:
        """Return why a picture is rejected, or ""."""
        image = picture.image.convert("RGBA")
        extrema = [image.getchannel(channel).getextrema() for channel in "RGBA"]
        if all(low == high for low, high in extrema) or extrema[3] == (0, 0):
            return "blank"
        if self.plan.least_score is not None and self.artist.rank(picture, one.prompt)[0] < self.plan.least_score:
            return "score"
        if self.plan.agree:
            found = self.artist.classify(picture, [other.label for other in self.plan.classes])
            if next(iter(found)) != one.label:
                return "agree"
        return ""

    def _keep(self, picture: Picture, one: TargetClass, pixels: str) -> None:
        name = slug(one.label)
        data = mark_picture(picture).png()
        path = self.folder / name / f"{name}-{picture.seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, sign_picture(picture, data) if self.sign else data)
        model = self.artist.model
        self.rows.append({
            "file_name": f"{name}/{path.name}", "text": one.prompt, "label": one.label,
            PICTURE_BY: f"machine: {model.name}, {self.plan.model[:12]}", "seed": picture.seed,
            "score": round(float(picture.score), 4), "model": model.name, "training_pictures": model.rights,
            "pixels": pixels,
        })  # fmt: skip
        write_atomic(self.folder / LIST, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))

    def _write_record(self) -> None:
        classes = {label: self.row(label) for label in self.tried}
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.rows:
            write_atomic(self.folder / LIST, "")
        record = {"plan": self.plan.to_json(), "hashes": dict(self.artist.model.hashes), "classes": classes}
        write_atomic(self.folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
