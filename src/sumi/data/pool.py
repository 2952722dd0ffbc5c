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
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sumi.data.disk import check_disk
from sumi.data.generator import Scenes
from sumi.data.scene import KINDS, Scene
from sumi.errors import SumiError

__all__ = ["Pool", "fill_pool", "scene_bytes"]

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
    num_workers: int = 0,
) -> Pool:
    """Draw scenes `start` to `start + count` into `folder`, going on where an earlier fill stopped.

    A larger `count` than before extends the pool. With `num_workers`, that many processes draw on the CPU; the
    bytes are the same. Raises SumiError naming the difference if the folder holds a pool of other scenes or sizes, and
    where the disk is too small.
    """
    root = Path(folder)
    wanted = {"format": FORMAT, "start": start, "sizes_px": list(sizes_px), **scenes.record()}
    done = 0
    if (root / "pool.json").exists():
        held = _read(root)
        _agree(held, wanted, root)
        done = int(held["done"])
    check_disk(root, max(0, count - done) * scene_bytes(sizes_px), f"a pool of {count:,} scenes")
    root.mkdir(parents=True, exist_ok=True)
    _cut_captions(root / "captions.txt", done)
    for block in _blocks(scenes, done, count, start, tuple(sizes_px), num_workers):
        block.write(root, done)
        done += len(block.captions)
        _write(root, {**wanted, "done": done})
        if progress is not None:
            progress(done, count)
    return Pool(root)


def scene_bytes(sizes_px: Sequence[int]) -> int:
    """How much a scene takes in a pool, in bytes, about: pictures, kind, concept, and 64 for the caption."""
    return sum(4 * size * size for size in sizes_px) + 1 + 4 + 64


@dataclass(frozen=True)
class _Block:
    """Some scenes on their way to disk."""

    pictures: dict[int, NDArray[np.uint8]]
    captions: list[str]
    kinds: NDArray[np.uint8]
    concepts: NDArray[np.int32]

    def write(self, root: Path, done: int) -> None:
        """Put everything after the first `done` scenes of a pool."""
        for size_px, pictures in self.pictures.items():
            _put(root / f"pictures-{size_px}.u8", pictures, done * 4 * size_px * size_px)
        _put(root / "kinds.u8", self.kinds, done)
        _put(root / "concepts.i32", self.concepts, done * 4)
        with open(root / "captions.txt", "a", encoding="utf-8", newline="\n") as lines:
            lines.writelines(text + "\n" for text in self.captions)
            lines.flush()
            os.fsync(lines.fileno())


def _blocks(
    scenes: Scenes, done: int, count: int, start: int, sizes_px: tuple[int, ...], num_workers: int
) -> Iterator[_Block]:
    """The blocks from `done` to `count`, in order, cut at multiples of BLOCK wherever the fill began."""
    cuts = [done, *range(done - done % BLOCK + BLOCK, count, BLOCK), count] if done < count else []
    spans = [(start + a, start + b) for a, b in pairwise(cuts)]
    if num_workers <= 0:
        yield from (_draw(scenes, span, sizes_px) for span in spans)
        return
    # Spawned, not forked: a fork of a process whose torch has threads may hang.
    context = multiprocessing.get_context("spawn")
    with context.Pool(num_workers, _begin, (scenes, sizes_px)) as workers:
        yield from workers.imap(_work, spans)


_task: tuple[Scenes, tuple[int, ...]] | None = None


def _begin(scenes: Scenes, sizes_px: tuple[int, ...]) -> None:
    global _task
    torch.set_num_threads(1)
    _task = scenes, sizes_px


def _work(span: tuple[int, int]) -> _Block:
    assert _task is not None
    return _draw(_task[0], span, _task[1])


def _draw(scenes: Scenes, span: tuple[int, int], sizes_px: tuple[int, ...]) -> _Block:
    numbers = range(*span)
    drawn = [scenes.scene(number) for number in numbers]
    return _Block(
        {size_px: _pictures(scenes, drawn, size_px) for size_px in sizes_px},
        [scenes.caption(scene, number) for number, scene in zip(numbers, drawn, strict=True)],
        np.array([KINDS.index(scene.kind) for scene in drawn], dtype=np.uint8),
        np.array([scenes.concept_id(scene) for scene in drawn], dtype="<i4"),
    )


def _pictures(scenes: Scenes, drawn: Sequence[Scene], size_px: int) -> NDArray[np.uint8]:
    """Drawn a few at a time, so that large pictures stay in the cache."""
    step = 256 if size_px <= 64 else 32
    parts = [scenes.render(drawn[k : k + step], size_px).cpu().numpy() for k in range(0, len(drawn), step)]
    return np.concatenate(parts)


def _put(path: Path, values: NDArray[Any], at: int) -> None:
    """Write bytes at an offset, growing the file as needed."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.seek(at)
        file.write(np.ascontiguousarray(values).data)


def _cut_captions(path: Path, done: int) -> None:
    """Drop the captions of a block that was never recorded."""
    if not path.exists():
        return
    held = path.read_text(encoding="utf-8").split("\n")
    lines = held[:done]
    if len(lines) < done:
        raise SumiError(f"the pool {path.parent} has lost captions: fill it again in an empty folder")
    if held[done:] == [""]:
        return  # so a full pool is only read, and several processes may open it at once
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
