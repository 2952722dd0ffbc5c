"""Atlas: every drawing of a vocabulary as one array, ready to be composed into scenes.

Idea: each drawing is rendered once through a viewBox that is the square around its tight alpha box, so that
its longest side fills the canvas, centred. The mip pyramid is exact box averaging of premultiplied values,
level_s[y, x] = mean of the (256 / s)^2 pixels under it. Rows are in a fixed order and the folder is named by
the hash of everything that decides its bytes, so the same artwork always gives the same atlas.

The SVG texts are kept beside the rows. The large levels take nineteen twentieths of the space and are not needed for
scenes of 64 px, so they are drawn when somebody asks for a whole level; until then, single rows of them are drawn anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sumi.data.artwork import ARTISTS, Artwork, frame_svg, load_artwork, render, tight_box
from sumi.data.disk import check_disk
from sumi.data.facets import Box
from sumi.data.people import Person
from sumi.data.rights import Rights
from sumi.data.vocabulary import Vocabulary
from sumi.data.words import load_annotations
from sumi.errors import SumiError

__all__ = ["LEVELS_PX", "SIZE_PX", "Atlas", "Progress", "Row", "open_vocabulary"]

SIZE_PX = 256
LEVELS_PX = (256, 128, 64, 32)
SMALL_PX = (64, 32)
"""The levels that are drawn when an atlas is built."""
FORMAT = 1
DRAWINGS = "drawings.json"
"""Beside the rows: the SVG text of each, framed."""

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
        """All pictures at one of LEVELS_PX: premultiplied RGBA uint8 (N, 4, S, S), memory-mapped; drawn if need be."""
        if size_px not in LEVELS_PX:
            raise SumiError(f"the atlas has pictures of {LEVELS_PX} px, not {size_px}")
        if size_px not in self._levels:
            self.draw([size_px])
            # Copy-on-write maps: torch wants writable memory, and nobody may change the file through one.
            self._levels[size_px] = torch.from_numpy(np.load(self.folder / f"{size_px}.npy", mmap_mode="c"))
        return self._levels[size_px]

    def drawings(self, size_px: int, rows: Tensor) -> Tensor:
        """Some rows at one of LEVELS_PX, (len(rows), 4, S, S) as `level` has them, without drawing a whole level."""
        if size_px in self._levels or (self.folder / f"{size_px}.npy").is_file():
            return self.level(size_px)[rows]
        pictures = [_draw_again(self._svgs[row], size_px) for row in rows.tolist()]
        return torch.from_numpy(np.stack(pictures))

    def draw(self, sizes_px: Collection[int] = LEVELS_PX, progress: Progress | None = None) -> None:
        """Draw those levels that are not there yet, about 10 ms a row; raises SumiError where the disk is too small."""
        missing = [size for size in sizes_px if not (self.folder / f"{size}.npy").is_file()]
        if missing:
            pictures = (render(svg, SIZE_PX) for svg in self._svgs)
            _write_levels(self.folder, len(self), missing, pictures, progress)

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
    def _levels(self) -> dict[int, Tensor]:
        """The levels that were asked for."""
        return {}

    @cached_property
    def _svgs(self) -> list[str]:
        """The framed SVG text of each row."""
        return _read_drawings(self.folder)

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

    About 20 ms a row; an interrupted build leaves nothing behind that could be mistaken for a whole one. Raises
    SumiError where there is nothing to draw, or too little space for it.
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


def open_vocabulary(
    which: str | Collection[str],
    folder: str | Path,
    progress: Progress | None = None,
    artists: Collection[str] = ARTISTS,
) -> tuple[Vocabulary, Atlas]:
    """A vocabulary and its atlas, from the folder of the artwork.

    which: one of VOCABULARIES for training; the concepts of a model or a judge for asking about these.
    """
    artworks, annotations = load_artwork(folder, artists=artists), load_annotations(folder)
    choose = Vocabulary.named if isinstance(which, str) else Vocabulary.having
    vocabulary = choose(which, artworks, annotations)  # type: ignore[arg-type]
    return vocabulary, build_atlas(vocabulary, artworks, Path(folder) / "cache", progress)


def draw_tight(art: Artwork, size_px: int = SIZE_PX) -> tuple[NDArray[np.uint8], Box, str]:
    """Render a drawing so that its longest side fills the canvas: uint8 (4, S, S), its unit box, and the framed SVG."""
    left, top, right, bottom = tight_box(render(art.svg, size_px))
    if right <= left:
        raise SumiError(f"the drawing '{art.name}' by {art.hand} is empty")
    unit = art.canvas[2] / size_px
    side = (max(right - left, bottom - top) + 2) * unit
    middle_x, middle_y = art.canvas[0] + (left + right) / 2 * unit, art.canvas[1] + (top + bottom) / 2 * unit
    framed = frame_svg(art.svg, (middle_x - side / 2, middle_y - side / 2, side, side))
    picture = render(framed, size_px)
    box = tight_box(picture)
    return picture, (box[0] / size_px, box[1] / size_px, box[2] / size_px, box[3] / size_px), framed


def shrink(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Exact box average of premultiplied pictures (..., H, W) by a whole factor, rounded half up."""
    *lead, height, width = pictures.shape
    blocks = pictures.reshape(*lead, height // factor, factor, width // factor, factor).astype(np.uint32)
    area = factor * factor
    means: NDArray[np.uint8] = ((blocks.sum(axis=(-3, -1)) + area // 2) // area).astype(np.uint8)
    return means


_Planned = tuple[str, str, Person | None, Artwork]


def _draw(planned: Sequence[_Planned], folder: Path, progress: Progress | None) -> None:
    rows, svgs = [], []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for concept, hand, person, art in planned:
            picture, box, svg = draw_tight(art)
            rows.append(asdict(Row(concept, hand, art.name, person, box, art.rights)))
            svgs.append(svg)
            yield picture

    _write_levels(folder, len(planned), SMALL_PX, pictures(), progress)
    (folder / DRAWINGS).write_text(json.dumps(svgs), "utf-8")
    (folder / "rows.json").write_text(json.dumps({"format": FORMAT, "rows": rows}), "utf-8")


def _write_levels(
    folder: Path,
    count: int,
    sizes_px: Collection[int],
    pictures: Iterable[NDArray[np.uint8]],
    progress: Progress | None,
) -> None:
    """Write pictures (4, SIZE_PX, SIZE_PX), `count` of them, at some sizes; each file appears when it is whole."""
    check_disk(folder, sum(level_bytes(count, size) for size in sizes_px), f"an atlas of {count:,} drawings")
    unfinished = {size: folder / f"{size}.{os.getpid()}.part" for size in sizes_px}
    levels = {
        size: np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 4, size, size))
        for size, path in unfinished.items()
    }
    try:
        for number, picture in enumerate(pictures):
            for size, level in levels.items():
                level[number] = shrink(picture, SIZE_PX // size)
            if progress is not None:
                progress(number + 1, count)
        for size, level in levels.items():
            level.flush()
            os.replace(unfinished[size], folder / f"{size}.npy")
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)


@lru_cache(maxsize=128)
def _draw_again(svg: str, size_px: int) -> NDArray[np.uint8]:
    """A framed drawing at one level, (4, S, S)."""
    return shrink(render(svg, SIZE_PX), SIZE_PX // size_px)


def level_bytes(count: int, size_px: int) -> int:
    """How much one level of `count` drawings takes on disk, in bytes."""
    return count * 4 * size_px * size_px


def _read_drawings(folder: Path) -> list[str]:
    try:
        svgs: list[str] = json.loads((folder / DRAWINGS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SumiError(
            f"the atlas in {folder} has lost its drawings: delete it, and it is made again ({error})"
        ) from error
    return svgs


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
