"""Atlas: every drawing of a vocabulary as one array, ready to be composed into scenes.

Idea: each drawing is rendered once through a viewBox that is the square around its tight alpha box, so that
its longest side fills the canvas, centred. The mip pyramid is exact box averaging of premultiplied values,
level_s[y, x] = mean of the (256 / s)^2 pixels under it. Rows are in a fixed order and the folder is named by
the hash of everything that decides its bytes, so the same artwork always gives the same atlas.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sumi.data.artwork import Artwork, frame_svg, render, tight_box
from sumi.data.facets import Box
from sumi.data.people import Person
from sumi.data.rights import Rights
from sumi.data.vocabulary import Vocabulary
from sumi.errors import SumiError

SIZE_PX = 256
LEVELS_PX = (256, 128, 64, 32)
FORMAT = 1

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


@dataclass(frozen=True)
class Row:
    """What one picture of the atlas shows. `box` is its tight alpha box in unit coordinates of the canvas."""

    concept: str
    hand: str
    icon: str
    person: Person | None
    box: Box
    rights: Rights

    @property
    def aspect(self) -> float:
        """Width over height of the drawing."""
        left, top, right, bottom = self.box
        return (right - left) / (bottom - top)

    def on_canvas(self, box: Box) -> Box:
        """A box in unit coordinates of the tight box (as anchors are) -> unit coordinates of the canvas."""
        left, top, right, bottom = self.box
        width, height = right - left, bottom - top
        return left + box[0] * width, top + box[1] * height, left + box[2] * width, top + box[3] * height


@dataclass(frozen=True)
class Atlas:
    """Pictures of (concept, variant, hand), opened from a folder that `build_atlas` made."""

    folder: Path
    rows: tuple[Row, ...]

    @classmethod
    def open(cls, folder: str | Path) -> Atlas:
        """The atlas in `folder`, at once: pictures stay on disk until they are touched."""
        root = Path(folder)
        try:
            record = json.loads((root / "rows.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SumiError(f"no atlas in {root}: build it again from the artwork ({error})") from error
        if record.get("format") != FORMAT:
            raise SumiError(f"the atlas in {root} has another format than this Sumi reads: build it again")
        return cls(root, tuple(_row_from_json(entry) for entry in record["rows"]))

    def __len__(self) -> int:
        return len(self.rows)

    def level(self, size_px: int) -> Tensor:
        """All pictures at one of LEVELS_PX: premultiplied RGBA uint8 (N, 4, S, S), memory-mapped."""
        if size_px not in LEVELS_PX:
            raise SumiError(f"the atlas has pictures of {LEVELS_PX} px, not {size_px}")
        return self._levels[size_px]

    @property
    def pictures(self) -> Tensor:
        """The finest level: uint8 (N, 4, 256, 256)."""
        return self.level(SIZE_PX)

    def indices(self, concept: str, hand: str | None = None, person: Person | None = None) -> tuple[int, ...]:
        """The rows that show `concept`; of one hand or of one person variant where given."""
        return tuple(
            number
            for number in self._of_concept.get(concept, ())
            if hand in (None, self.rows[number].hand) and person in (None, self.rows[number].person)
        )

    def index(self, concept: str, hand: str, person: Person | None = None) -> int:
        """The row of a concept by a hand; of a role the plain variant unless `person`. SumiError if none."""
        found = self.indices(concept, hand, person)
        if not found:
            raise SumiError(f"the atlas has no '{concept}' by {hand}{f' as {person}' if person else ''}")
        return found[0]

    @cached_property
    def hands(self) -> tuple[str, ...]:
        """The hands that drew these rows, sorted."""
        return tuple(sorted({row.hand for row in self.rows}))

    @cached_property
    def boxes(self) -> Tensor:
        """Tight alpha boxes in unit coordinates of the canvas, float (N, 4): left, top, right, bottom."""
        return torch.tensor([row.box for row in self.rows], dtype=torch.float32).reshape(-1, 4)

    @cached_property
    def _levels(self) -> Mapping[int, Tensor]:
        # Copy-on-write maps: torch wants writable memory, and nobody may change the file through one.
        return {size: torch.from_numpy(np.load(self.folder / f"{size}.npy", mmap_mode="c")) for size in LEVELS_PX}

    @cached_property
    def _of_concept(self) -> Mapping[str, list[int]]:
        numbers: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            numbers.setdefault(row.concept, []).append(number)
        return numbers


def build_atlas(
    vocabulary: Vocabulary, artworks: Sequence[Artwork], cache: str | Path, progress: Progress | None = None
) -> Atlas:
    """Open the atlas of this vocabulary and artwork under `cache`, building it first if it is not there.

    About 20 ms a row; an interrupted build leaves nothing behind that could be mistaken for a whole one.
    """
    drawings = {(art.hand, art.name): art for art in artworks}
    planned = [
        (concept.name, hand, variant.person, drawings[hand, icon])
        for concept in vocabulary
        for variant in concept.variants
        for hand, icon in sorted(variant.icons.items())
    ]
    if not planned:
        raise SumiError("there is nothing to draw: the vocabulary and the artwork share no icon")
    folder = Path(cache) / _fingerprint(planned)
    if (folder / "rows.json").is_file():
        return Atlas.open(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        _draw(planned, unfinished, progress)
        unfinished.chmod(0o755)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Atlas.open(folder)


def draw_tight(art: Artwork, size_px: int = SIZE_PX) -> tuple[NDArray[np.uint8], Box]:
    """Render a drawing so that its longest side fills the canvas: uint8 (4, S, S) and its unit box."""
    left, top, right, bottom = tight_box(render(art.svg, size_px))
    if right <= left:
        raise SumiError(f"the drawing '{art.name}' by {art.hand} is empty")
    unit = art.canvas[2] / size_px
    side = (max(right - left, bottom - top) + 2) * unit
    middle_x, middle_y = art.canvas[0] + (left + right) / 2 * unit, art.canvas[1] + (top + bottom) / 2 * unit
    framed = frame_svg(art.svg, (middle_x - side / 2, middle_y - side / 2, side, side))
    picture = render(framed, size_px)
    box = tight_box(picture)
    return picture, (box[0] / size_px, box[1] / size_px, box[2] / size_px, box[3] / size_px)


def shrink(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Exact box average of premultiplied pictures (..., H, W) by a whole factor, rounded half up."""
    *lead, height, width = pictures.shape
    blocks = pictures.reshape(*lead, height // factor, factor, width // factor, factor).astype(np.uint32)
    area = factor * factor
    means: NDArray[np.uint8] = ((blocks.sum(axis=(-3, -1)) + area // 2) // area).astype(np.uint8)
    return means


_Planned = tuple[str, str, Person | None, Artwork]


def _draw(planned: Sequence[_Planned], folder: Path, progress: Progress | None) -> None:
    levels = {
        size: np.lib.format.open_memmap(
            folder / f"{size}.npy", mode="w+", dtype=np.uint8, shape=(len(planned), 4, size, size)
        )
        for size in LEVELS_PX
    }
    rows = []
    for number, (concept, hand, person, art) in enumerate(planned):
        picture, box = draw_tight(art)
        for size, level in levels.items():
            level[number] = shrink(picture, SIZE_PX // size)
        rows.append(asdict(Row(concept, hand, art.name, person, box, art.rights)))
        if progress is not None:
            progress(number + 1, len(planned))
    for level in levels.values():
        level.flush()
    (folder / "rows.json").write_text(json.dumps({"format": FORMAT, "rows": rows}), "utf-8")


def _fingerprint(planned: Sequence[_Planned]) -> str:
    digest = hashlib.sha256(f"atlas {FORMAT} {SIZE_PX}".encode())
    for concept, hand, person, art in planned:
        digest.update(f"\n{concept}|{hand}|{person}|{art.name}|{art.rights.sha256}".encode())
    return digest.hexdigest()[:16]


def _row_from_json(entry: Mapping[str, Any]) -> Row:
    left, top, right, bottom = entry["box"]
    person = Person(**entry["person"]) if entry["person"] else None
    box = (float(left), float(top), float(right), float(bottom))
    return Row(entry["concept"], entry["hand"], entry["icon"], person, box, Rights.from_json(entry["rights"]))
