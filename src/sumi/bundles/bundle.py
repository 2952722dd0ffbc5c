"""A model on disk: a folder that people know how to read, opened lazily and believed only where it fits.

model_index.json      {"_class_name": system, "_sumi_version": ..., part: [room, class], ..., "hashes",
"settings"} <part>/config.json    the constructor's arguments, and the hashes of the parts that it was
trained on <part>/model.safetensors tokenizer.json  vocabulary.json  rights.json  README.md
drawings/             what taught it, small (see `sumi.bundles.drawings`); may be absent
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sumi.bundles.card import Card
from sumi.bundles.device import CPU, keep_on
from sumi.bundles.drawings import DRAWINGS, TrainingDrawings
from sumi.bundles.json_file import read_json, read_object, write_json
from sumi.bundles.old_names import PARTS, SYSTEMS
from sumi.bundles.parts import CONFIG, TRAINED_ON, WEIGHTS, build, configuration, load_part, resolve
from sumi.bundles.tensors import serialise
from sumi.errors import SumiError

__all__ = ["Bundle", "default_bundle", "is_published", "save_bundle"]

INDEX = "model_index.json"
TOKENIZER, VOCABULARY, RIGHTS, CARD = "tokenizer.json", "vocabulary.json", "rights.json", "README.md"
NOT_PARTS = ("hashes", "settings", "tokenizer")
MODEL_VARIABLE = "SUMI_MODEL"
FOREIGN_SUFFIXES = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".th", ".pkl"})
"""Of weights that others publish without an index beside them."""


def is_published(path: Path) -> bool:
    """Whether a model is another's: a file of weights, such files without an index, or an index without Sumi."""
    try:
        if not (path / INDEX).is_file():
            files = [path] if path.is_file() else path.iterdir() if path.is_dir() else []
            return any(file.suffix in FOREIGN_SUFFIXES for file in files)
    except (OSError, ValueError):  # a null byte in the name, or a folder we may not look into
        return False
    index = read_object(path / INDEX)
    return str(index.get("_class_name")).endswith("Pipeline") and "_sumi_version" not in index


class _Settings(dict[str, Any]):
    """The settings of each stage; asking for one that is not there is the file's fault."""

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._folder = folder

    def __missing__(self, name: str) -> Any:
        raise SumiError(f"{self._folder / INDEX} has no settings for {name!r}")


@dataclass(frozen=True)
class Bundle:
    """An opened model folder; nothing but its index is read until it is asked for.

    device: where its networks compute.
    """

    folder: Path
    system: str
    version: str
    parts: Mapping[str, tuple[str, str]]
    hashes: Mapping[str, str]
    settings: Mapping[str, Any]
    tokenizer_class: tuple[str, str] | None = None
    device: torch.device = CPU
    _loaded: dict[tuple[str, torch.dtype], nn.Module] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Open a folder; SumiError when it is not a model's."""
        folder = Path(folder)
        try:
            there = (folder / INDEX).is_file()
        except (OSError, ValueError):  # a null byte in the name, or a folder we may not look into
            there = False
        if not there:
            raise SumiError(f"there is no model in {str(folder)!r}: a model is a folder with a {INDEX}")
        index = read_object(folder / INDEX)
        system, version = index.get("_class_name"), index.get("_sumi_version", "")
        if not isinstance(system, str) or not isinstance(version, str):
            raise SumiError(f"{folder / INDEX} should name its system in _class_name")
        tokenizer = index.get("tokenizer")
        return cls(
            folder,
            SYSTEMS.get(system, system),
            version,
            {
                _part_name(PARTS.get(name, name), folder): _pair(row, name, folder)
                for name, row in index.items()
                if not name.startswith("_") and name not in NOT_PARTS
            },
            {PARTS.get(name, name): value for name, value in _strings(index.get("hashes", {}), folder).items()},
            _Settings(folder, _object(index.get("settings", {}), "settings", folder)),
            None if tokenizer is None else _pair(tokenizer, "tokenizer", folder),
        )

    def __repr__(self) -> str:
        """Return its name, its system and its parts."""
        return f"<Bundle {self.name}: {self.system} of {', '.join(self.parts)}>"

    @property
    def name(self) -> str:
        """The model's name: that of its folder, or of its system where a training run called the folder "bundle"."""
        name = self.folder.resolve().name
        return self.system if name == "bundle" else name

    def part(self, name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
        """Return a network of the bundle, loaded once, frozen and in evaluation mode.

        SumiError when the bundle has no such part, when the part was trained on other weights than those
        beside it, and for every missing, unused or misshapen tensor.
        """
        if (name, dtype) not in self._loaded:
            self._loaded[name, dtype] = keep_on(self.copy_part(name, dtype), self.device)
        return self._loaded[name, dtype]

    def copy_part(self, name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
        """Return the same network as a copy on the CPU that belongs to the caller, who may change it (SumiError)."""
        if name not in self.parts:
            raise SumiError(f"the model {self.name} has no part {name!r}; it has {', '.join(self.parts)}")
        self._check_companions(name)
        room, made = self.parts[name]
        return load_part(self._part_folder(name), room, made, dtype, self.hashes.get(name))

    def trained_on(self, name: str) -> Mapping[str, str]:
        """Return the hashes of the parts that this part was trained on."""
        return configuration(self._part_folder(name))[1]

    def _part_folder(self, name: str) -> Path:
        """Where a part lies; a model that was written by an earlier version may call it by an old name."""
        old = [self.folder / former for former, current in PARTS.items() if current == name]
        return next((folder for folder in old if folder.is_dir()), self.folder / name)

    def _check_companions(self, name: str) -> None:
        for other, expected in self.trained_on(name).items():
            actual = self.hashes.get(other, "")
            if actual != expected:
                raise SumiError(
                    f"the {name} in {self.folder} was trained on another {other}: on {expected[:12]}, "
                    f"and the bundle holds {actual[:12] or 'none'}; use the {other} it was trained with"
                )

    def tokenizer(self) -> Any:
        """Return the tokenizer, rebuilt from tokenizer.json."""
        if self.tokenizer_class is None:
            raise SumiError(f"the model {self.name} names no tokenizer in {INDEX}")
        path = self.folder / TOKENIZER
        made = build(str(path), *self.tokenizer_class, read_object(path))
        try:
            made.encode(["a"])
        except Exception as error:  # a constructor takes what only fails in use
            raise SumiError(f"{path} does not hold a working {self.tokenizer_class[1]}: {error}") from None
        return made

    def build(self, room: str, spec: Any) -> Any:
        """Return an object described by {"_class": name, **arguments}, such as a schedule."""
        if not isinstance(spec, dict) or not isinstance(spec.get("_class"), str):
            raise SumiError(f'{self.folder / INDEX}: expected {{"_class": name, ...}} in the settings, found {spec!r}')
        arguments = {key: value for key, value in spec.items() if key != "_class"}
        return build(str(self.folder / INDEX), room, spec["_class"], arguments)

    @cached_property
    def vocabulary(self) -> Mapping[str, Any]:
        """What the model was taught: {"concepts": {name: [its words]}, "words": [every other word]}."""
        path = self.folder / VOCABULARY
        return read_object(path) if path.exists() else {}

    @cached_property
    def rights(self) -> list[Any]:
        """Where its training pictures came from."""
        path = self.folder / RIGHTS
        rows = read_json(path) if path.exists() else []
        if not isinstance(rows, list):
            raise SumiError(f"{path} should hold a list of rights")
        return rows

    @property
    def rights_summary(self) -> str:
        """One line about where its training pictures came from: how many, under which licence, by whom."""
        rows = [row for row in self.rights if isinstance(row, dict)]
        names = ("licence", "author", "source")
        return "; ".join(
            f"{row.get('pictures', 'some')} drawings: {', '.join(str(row[name]) for name in names if row.get(name))}"
            for row in rows
        )

    @cached_property
    def drawings(self) -> TrainingDrawings | None:
        """The drawings that taught it, if it carries them; SumiError when its CLIP is not the one that saw them."""
        folder = self.folder / DRAWINGS
        if not folder.is_dir():
            return None
        drawings = TrainingDrawings.load(folder)
        if drawings.clip != self.hashes.get("clip"):
            raise SumiError(
                f"the drawings in {folder} were seen by another CLIP than the model's: write them again with "
                "'sumi data drawings'"
            )
        return drawings

    def keep_drawings(self, drawings: TrainingDrawings) -> Path:
        """Write drawings into the folder, and count them in `rights.json`; returns where they lie."""
        draft, folder = self.folder / f"{DRAWINGS}.partial", self.folder / DRAWINGS
        shutil.rmtree(draft, ignore_errors=True)
        drawings.save(draft)
        _replace(draft, folder)
        write_json(self.folder / RIGHTS, counted(self.rights, drawings))
        return folder


def counted(rights: list[Any], drawings: TrainingDrawings) -> list[Any]:
    """Return rights with how many thumbnails of each source a model carries."""
    counts = drawings.counts()
    return [{**row, "thumbnails": counts.get(row.get("source", ""), 0)} for row in rights]


def default_bundle() -> Path:
    """Return the folder of the model used when none is named: $SUMI_MODEL, or the package's own."""
    chosen = os.environ.get(MODEL_VARIABLE)
    if chosen:
        return Path(chosen)
    shipped = Path(__file__).parents[1] / "models" / "sticker"
    if not (shipped / INDEX).is_file():
        raise SumiError(
            f"no model is shipped in {shipped}: name one with --model or {MODEL_VARIABLE}, or train one with "
            "'sumi train sticker'"
        )
    return shipped


def save_bundle(
    folder: str | Path,
    *,
    system: str,
    parts: Mapping[str, nn.Module],
    tokenizer: Any = None,
    vocabulary: Mapping[str, Any] | None = None,
    rights: list[Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    trained_on: Mapping[str, Mapping[str, str]] | None = None,
    card: Card | None = None,
    drawings: TrainingDrawings | None = None,
) -> Bundle:
    """Write a model folder and open it; a folder already there is replaced only when the new one is complete.

    parts: networks with a `config` of constructor arguments. trained_on: {"prior": {"clip":
    weight_hash(clip)}}. drawings: what taught it, small, to be shown.
    """
    from sumi import __version__

    folder = Path(folder)
    draft = folder.with_name(folder.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    index: dict[str, Any] = {"_class_name": system, "_sumi_version": __version__}
    hashes: dict[str, str] = {}
    for name, part in parts.items():
        _part_name(name, draft)
        index[name] = _home(part)
        hashes[name] = _save_part(draft / name, part, (trained_on or {}).get(name, {}))
    if tokenizer is not None:
        index["tokenizer"] = _home(tokenizer)
        write_json(draft / TOKENIZER, tokenizer.config)
    write_json(draft / INDEX, {**index, "hashes": hashes, "settings": dict(settings or {})})
    write_json(draft / VOCABULARY, dict(vocabulary or {}))
    write_json(draft / RIGHTS, counted(rights or [], drawings) if drawings else list(rights or []))
    if drawings is not None:
        drawings.save(draft / DRAWINGS)
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}
    text = (card or Card(folder.name)).text(index, counts, hashes, rights or [], vocabulary or {})
    (draft / CARD).write_text(text, encoding="utf-8")
    _replace(draft, folder)
    return Bundle.load(folder)


def _save_part(folder: Path, part: nn.Module, trained_on: Mapping[str, str]) -> str:
    import hashlib

    folder.mkdir()
    data = serialise(part)
    (folder / WEIGHTS).write_bytes(data)
    config: dict[str, Any] = {"_class_name": type(part).__name__}
    if trained_on:
        config[TRAINED_ON] = dict(trained_on)
    write_json(folder / CONFIG, {**config, **part.config})  # type: ignore[dict-item]
    return hashlib.sha256(data).hexdigest()


def _home(thing: Any) -> list[str]:
    """Return [room, class] for something a room exports."""
    room = ".".join(type(thing).__module__.split(".")[:2])
    if resolve(room, type(thing).__name__) is not type(thing):
        raise SumiError(f"{type(thing).__name__} is not the class that {room} exports under that name")
    return [room, type(thing).__name__]


def _replace(draft: Path, folder: Path) -> None:
    old = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _part_name(name: str, folder: Path) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in NOT_PARTS:
        raise SumiError(f"{folder / INDEX}: {name!r} cannot be the name of a part")
    return name


def _pair(row: Any, name: str, folder: Path) -> tuple[str, str]:
    if not isinstance(row, list) or len(row) != 2 or not all(isinstance(item, str) for item in row):
        raise SumiError(f"{folder / INDEX}: {name} should be [room, class]")
    return row[0], row[1]


def _object(value: Any, name: str, folder: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SumiError(f"{folder / INDEX}: {name} should be a JSON object")
    return value


def _strings(value: Any, folder: Path) -> dict[str, str]:
    hashes = _object(value, "hashes", folder)
    if not all(isinstance(item, str) for item in hashes.values()):
        raise SumiError(f"{folder / INDEX}: every hash should be a string")
    return hashes
