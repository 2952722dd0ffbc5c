"""Training data: the examples of a system, and what its bundle says about them.

Scenes of single things composed from the artwork, or a folder of one's own pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sumi.curation.admission import TrainingAdmission, TrainingRules, admit_pictures
from sumi.curation.picture_rights import count_rights
from sumi.data.generator import Scenes
from sumi.data.grammar import noun_phrase
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_array import MAX_BROKEN, PictureArray, read_pictures
from sumi.data.plain_scenes import plain_scenes
from sumi.data.pool import fill_pool
from sumi.data.rights import attribution
from sumi.errors import SumiError
from sumi.hardware import free_memory
from sumi.systems import Examples, System

__all__ = ["TrainingData", "of_own_pictures"]

#: Scenes that systems learn from, and the seed they are drawn from.
COUNT, SEED = 8192, 11

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""


@dataclass(frozen=True)
class TrainingData:
    """Examples at a size.

    classes: the names of the labels. told: their origin, in a sentence. content: sha256 of the sources of the pictures,
    whatever the size; empty where the examples themselves identify the data. origin: the model that training begins
    from, empty for training from scratch. report: of one's own pictures, what was read and what was left out.
    admission: whose pictures they are, where rules decide which of them may be trained on.
    """

    examples: Examples
    size_px: int
    classes: tuple[str, ...] = ()
    rights: Sequence[Any] = ()
    told: str = ""
    content: str = ""
    origin: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    admission: TrainingAdmission | None = None


def of_scenes(
    scenes: Scenes, folder: Path, size_px: int, count: int = COUNT, progress: Progress | None = None
) -> TrainingData:
    """Return the first scenes of one thing each, rendered once into a folder; caption and label name the thing."""
    say = progress or (lambda what, done, of: None)
    pool = fill_pool(scenes, count, [size_px], folder, lambda done, of: say("scenes", done, of))
    pictures = np.array(pool.pictures(size_px)[:count])
    labels = torch.from_numpy(np.array(pool.concept_ids[:count], dtype=np.int64))
    names = scenes.vocabulary.names
    captions = [noun_phrase(names[label], []) for label in labels.tolist()]
    examples = Examples(pictures, captions, labels, len(names))
    used = [row.rights for row in scenes.atlas.rows if row.concept in scenes.vocabulary]
    told = f"{count:,} scenes of one plain thing each, of {len(names)} things, composed from the artwork"
    content = hashlib.sha256(json.dumps({**scenes.record(), "count": count}, sort_keys=True).encode()).hexdigest()
    return TrainingData(examples, size_px, names, attribution(used), told, content)


def of_artwork(
    artwork: Path, folder: Path, size_px: int, progress: Progress | None = None, *, hold_out: bool = False
) -> TrainingData:
    """Return scenes of single things from the artwork; SumiError when there is none.

    hold_out: leave out the drawing of each thing that `plain_scenes(..., held_out=True)` shows.
    """
    say = progress or (lambda what, done, of: None)
    told = False if hold_out else None
    scenes = plain_scenes(artwork, SEED, lambda done, of: say("atlas", done, of), held_out=told)
    return of_scenes(scenes, folder, size_px, progress=progress)


def of_own_pictures(
    place: str | Path,
    size_px: int,
    system: System,
    progress: Progress | None = None,
    *,
    max_broken: float = MAX_BROKEN,
    folder: Path | None = None,
    rules: TrainingRules | None = None,
) -> tuple[TrainingData, PictureArray]:
    """Return one's own pictures for a system; those without the caption or label it needs are left out and named.

    Args:
        place: what `open_dataset` opens: a folder, tar shards, parquet files, a directory of `datasets`.
        size_px: the side of the pictures.
        system: what will learn from them.
        progress: called with (what, done, of).
        max_broken: the share of samples that may be broken.
        folder: of the run, where decoded pictures are kept that take more than a quarter of the free memory.
        rules: which pictures may be trained on; None asks nobody, and leaves no record of them in the model.

    Raises:
        SumiError: when too few pictures are left to learn from, or too many are broken.
    """
    say = progress or (lambda what, done, of: None)
    found, admission = open_dataset(place), None
    if rules is not None:
        admission = admit_pictures(found, rules, lambda done, of: say("rights", done, of))
        found = admission.dataset
    free, needed = free_memory(), 4 * size_px**2 * len(found)
    file = folder / "pictures.npy" if folder is not None and free is not None and needed > free / 4 else None
    album = read_pictures(found, size_px, lambda done, of: say("pictures", done, of), max_broken=max_broken, file=file)
    if admission is not None:
        album = replace(album, left_out=(*album.left_out, *(one.refusal for one in admission.refused)))
        if admission.note and rules is not None and not rules.allow_unlicensed:
            album = replace(album, notes=(*album.notes, _unstated(admission.note)))
    for what in ("captions", "labels"):
        if what in system.needs:
            album = album.having(what, system.name)
    if len(album) < system.least:
        raise SumiError(
            f"{system.name} needs at least {system.least} pictures to learn from, and {place} has {len(album)}"
        )
    classes = album.classes if all(album.labels) else ()
    labels = torch.tensor([classes.index(label) for label in album.labels]) if classes else None
    if "labels" in system.needs and len(classes) < 2:
        raise SumiError(f"{system.name} tells labels apart, and all pictures in {place} have the same one")
    examples = Examples(album.pictures, album.captions, labels, len(classes))
    told = f"{len(album):,} pictures of {Path(album.place).name or album.place}"
    if admission is None:
        rights = count_rights([record.rights for record in album.records])
    else:
        admission = admission.of(album.names)
        rights = count_rights([one.to_json() for one in admission.rights])
    report = {**album.to_json(), "rights": rights, "rights_note": admission.note if admission is not None else ""}
    data = TrainingData(examples, size_px, classes, rights, told, album.content, report=report, admission=admission)
    return data, album


def _unstated(note: str) -> str:
    return f'{note} They are taken for your own, and the model card says so; --licence "own work" states it'
