"""A pool: scenes drawn once into memory-mapped arrays, so that training never waits for a picture.

    folder/pool.json            what decides its bytes, and how far it is filled
    folder/pictures-64.u8       uint8 (N, 4, 64, 64), one file per size
    folder/captions.txt         one line a scene
    folder/kinds.u8             uint8 (N,), an index into scene.KINDS
    folder/concepts.i32         int32 (N,), id of the main concept, -1 for none

Scene number k of a pool is scene `start + k` of its generator, so nothing else need be kept. Filling goes
block by block, each recorded when it is written; a fill that was stopped goes on from its last block, and the
finished files are the same as if it had not been.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sumi.data.generator import Scenes
from sumi.data.scene import KINDS, Scene
from sumi.errors import SumiError

FORMAT = 1
BLOCK = 512

Progress = Callable[[int, int], None]
"""Called with (scenes done, scenes in all)."""


class Pool:
    """A folder that `fill_pool` filled, opened at once: arrays are mapped, not read."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.record: dict[str, Any] = _read(self.folder)

    def __len__(self) -> int:
        return int(self.record["done"])

    @property
    def sizes_px(self) -> tuple[int, ...]:
        """The sizes that pictures were drawn at."""
        return tuple(self.record["sizes_px"])

    def pictures(self, size_px: int) -> NDArray[np.uint8]:
        """Premultiplied RGBA uint8 (N, 4, size_px, size_px), mapped read-only."""
        if size_px not in self.sizes_px:
            raise SumiError(f"the pool {self.folder} has pictures of {self.sizes_px} px, not {size_px}")
        return self._bytes(f"pictures-{size_px}.u8", (4, size_px, size_px))

    @cached_property
    def captions(self) -> list[str]:
        """One caption a scene."""
        text = (self.folder / "captions.txt").read_text(encoding="utf-8")
        return text.split("\n")[: len(self)]

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """Kind of each scene, an index into scene.KINDS, (N,)."""
        return self._bytes("kinds.u8", ())

    @property
    def concept_ids(self) -> NDArray[np.int32]:
        """Vocabulary id of each scene's main thing, (N,); -1 where there is none."""
        return np.memmap(self.folder / "concepts.i32", dtype="<i4", mode="r", shape=(len(self),))

    def scene(self, scenes: Scenes, number: int) -> Scene:
        """Scene `number` of this pool, from a generator that agrees with it; SumiError for another."""
        _agree(self.record, scenes.record(), self.folder)
        return scenes.scene(self.record["start"] + number)

    def _bytes(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.memmap(self.folder / name, dtype=np.uint8, mode="r", shape=(len(self), *shape))


def fill_pool(
    scenes: Scenes,
    count: int,
    sizes_px: Sequence[int],
    folder: str | Path,
    progress: Progress | None = None,
    start: int = 0,
) -> Pool:
    """Draw scenes `start` to `start + count` into `folder`, going on where an earlier fill stopped.

    Raises SumiError naming the difference if the folder holds a pool of other scenes or sizes. A larger
    `count` than before extends the pool.
    """
    root = Path(folder)
    wanted = {"format": FORMAT, "start": start, "sizes_px": list(sizes_px), **scenes.record()}
    done = 0
    if (root / "pool.json").exists():
        held = _read(root)
        _agree(held, wanted, root)
        done = int(held["done"])
    root.mkdir(parents=True, exist_ok=True)
    _cut_captions(root / "captions.txt", done)
    while done < count:
        block = min(BLOCK - done % BLOCK, count - done)
        drawn = [scenes.scene(start + k) for k in range(done, done + block)]
        for size_px in sizes_px:
            for first in range(0, block, 256 if size_px <= 64 else 32):
                part = drawn[first : first + (256 if size_px <= 64 else 32)]
                pictures = scenes.render(part, size_px).cpu().numpy()
                _put(root / f"pictures-{size_px}.u8", pictures, (done + first) * 4 * size_px * size_px)
        kinds = np.array([KINDS.index(scene.kind) for scene in drawn], dtype=np.uint8)
        _put(root / "kinds.u8", kinds, done)
        concepts = np.array([scenes.concept_id(scene) for scene in drawn], dtype="<i4")
        _put(root / "concepts.i32", concepts, done * 4)
        said = [scenes.caption(scene, start + done + k) for k, scene in enumerate(drawn)]
        with open(root / "captions.txt", "a", encoding="utf-8", newline="\n") as lines:
            lines.writelines(text + "\n" for text in said)
            lines.flush()
            os.fsync(lines.fileno())
        done += block
        _write(root, {**wanted, "done": done})
        if progress is not None:
            progress(done, count)
    return Pool(root)


def _put(path: Path, values: NDArray[Any], at: int) -> None:
    """Write bytes at an offset, growing the file as needed."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(at)
        file.write(np.ascontiguousarray(values).data)


def _cut_captions(path: Path, done: int) -> None:
    """Drop the captions of a block that was never recorded."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")[:done]
    if len(lines) < done:
        raise SumiError(f"the pool {path.parent} has lost captions: fill it again in an empty folder")
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")


def _read(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "pool.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SumiError(f"no pool in {folder}: fill one first ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SumiError(f"the pool in {folder} has another format than this Sumi reads: fill it again")
    return record


def _write(folder: Path, record: dict[str, Any]) -> None:
    unfinished = folder / "pool.json.unfinished"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, folder / "pool.json")


def _agree(held: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise SumiError naming the first thing in which a pool and a wish for it differ."""
    for name, value in wanted.items():
        if held.get(name) != value:
            raise SumiError(
                f"the pool in {folder} was filled with {name} = {held.get(name)}, not {value}: "
                "use another folder or the same settings"
            )
