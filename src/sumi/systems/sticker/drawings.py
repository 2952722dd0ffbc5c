"""The training drawings that a bundle carries: a thumbnail and an embedding of each.

Only drawings that entered training are kept: not a concept or a variant of a person that the split holds out.
"""

from __future__ import annotations

import torch

from sumi.bundles import TrainingDrawings, weight_hash
from sumi.bundles.drawings import SIDE_PX
from sumi.conditioning import CLIP
from sumi.data.atlas import SIZE_PX, Atlas, Row
from sumi.data.people import Person
from sumi.data.split import Combination, is_held_out
from sumi.explain.nearest_drawings import aligned
from sumi.imaging.pixels import from_levels

__all__ = ["drawings_of", "taught"]

BATCH = 64


def taught(atlas: Atlas) -> list[int]:
    """The rows that may enter training."""
    return [
        number
        for number, row in enumerate(atlas.rows)
        if not _held_out(row, atlas.index(row.concept, row.hand) == number)
    ]


def _held_out(row: Row, plain: bool) -> bool:
    if is_held_out(Combination("concept", (row.concept,))):
        return True
    return row.person is not None and not plain and is_held_out(_who(row.concept, row.person))


def _who(concept: str, person: Person) -> Combination:
    return Combination("person", (concept, person.tone, person.gender))


@torch.no_grad()
def drawings_of(atlas: Atlas, clip: CLIP) -> TrainingDrawings:
    """The drawings of an atlas that were taught, as people see them and as this CLIP does."""
    numbers = taught(atlas)
    small, seen = [], []
    for start in range(0, len(numbers), BATCH):
        large = atlas.drawings(SIZE_PX, torch.tensor(numbers[start : start + BATCH])).float() / 255
        small += [aligned(picture, SIDE_PX) for picture in large]
        shown = torch.stack([aligned(picture, clip.size_px) for picture in large])
        device = next(clip.parameters()).device
        seen.append(clip.encode_image(from_levels(shown).to(device)).cpu())
    rows = [_named(atlas.rows[number]) for number in numbers]
    return TrainingDrawings(torch.cat(seen), torch.stack(small), rows, weight_hash(clip))


def _named(row: Row) -> dict[str, str]:
    kept = row.rights.to_json()
    rights = {name: kept[name] for name in ("source", "version", "licence", "author", "url")}
    who = "" if row.person is None else f"{row.person.gender}, {row.person.tone} skin tone"
    return {"concept": row.concept, "person": who, "icon": row.icon, **rights}
