"""What a file or folder of weights is, said before any tensor of it is read.

Headers, configurations and the model card are read; the layout, the parts and whether they fit follow from those.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final

from sumi.bundles.json_file import read_object
from sumi.bundles.published.folders import INDEX, open_folder
from sumi.bundles.published.mapping import bounded
from sumi.bundles.published.networks import open_part
from sumi.bundles.published.originals import OriginalLayout, divide, recognise
from sumi.bundles.published.weights import WEIGHT_SUFFIXES, Weights, inside, open_weights
from sumi.bundles.tensors import DTYPES, Entry, TensorFile
from sumi.errors import SumiError

DTYPE_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
CARD: Final = "README.md"
MOST_CARD_BYTES: Final = 2**20
OPEN_CLIP_CONFIG: Final = "open_clip_config.json"
OPEN_CLIP_WEIGHTS: Final = ("open_clip_model", "open_clip_pytorch_model", "model")
ORIGINAL_SETS: Final = (
    ("karlo-original", "unCLIP (karlo), original files",
     {"karlo-prior", "karlo-decoder", "karlo-super-resolution", "clip-statistics"}),
    ("glide", "GLIDE", {"glide"}),
    ("dalle-dvae", "OpenAI's discrete VAE", {"dalle-dvae"}),
)  # fmt: skip
"""Systems published as several files in one folder, by the layouts that they need."""


@dataclass(frozen=True)
class PartInspection:
    """One network: what it is called and of which class, and how large it is. facts: what its shapes say."""

    name: str
    kind: str
    tensors: int
    parameters: int
    dtypes: Mapping[str, int]
    size_bytes: int
    files: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """What a file or folder holds. unknown: tensors of no part, which loading will refuse."""

    path: str
    layout: str
    system: str
    parts: tuple[PartInspection, ...]
    licence: str | None = None
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Parameters of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """Bytes of all parts as they are stored."""
        return sum(part.size_bytes for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return everything as an object."""
        return asdict(self) | {"parameters": self.parameters, "size_bytes": self.size_bytes}

    def text(self) -> str:
        """Return it as a table for a person."""
        rows = [
            (part.name, part.kind, amount(part.parameters), "+".join(part.dtypes), size(part.size_bytes))
            for part in self.parts
        ]
        rows.append(("total", "", amount(self.parameters), "", size(self.size_bytes)))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [f"{self.system}  ({self.layout})"]
        lines += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines += [f"  {part.name}: {facts_text(part.facts)}" for part in self.parts if part.facts]
        lines.append(f"licence: {self.licence or 'its files name none'}")
        if self.ignored:
            lines.append(f"not needed to draw: {len(self.ignored)} tensors: {bounded(self.ignored)}")
        if self.unknown:
            lines.append(f"unknown: {len(self.unknown)} tensors: {bounded(self.unknown)}")
        return "\n".join(lines)


def inspect(path: str | Path) -> Inspection:
    """Say what a file or folder of weights is, without loading it.

    Args:
        path: a folder that diffusers, transformers, open_clip or Sumi saved; a folder of original files; or a file.

    Raises:
        SumiError: one line for what is missing, damaged, unsafe, of no known layout, or of parts that do not fit.
    """
    path = Path(path)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError):
        is_folder = exists = False
    if not exists:
        raise SumiError(f"there is no file or folder {str(path)!r}")
    if not is_folder:
        return inspect_file(path)
    for marker, reader in (
        (INDEX, inspect_index),
        (OPEN_CLIP_CONFIG, inspect_open_clip),
        ("config.json", inspect_clip),
    ):
        if (path / marker).exists() or (path / marker).is_symlink():
            return reader(path)
    return inspect_originals(path)


def inspect_index(path: Path) -> Inspection:
    """Inspect a folder with a model_index.json: a published one, or a bundle of Sumi's own."""
    if "_sumi_version" in read_object(inside(path, path / INDEX)):
        return inspect_bundle(path)
    opened = open_folder(path)
    made = tuple(report(name, part.kind, part.weights) for name, part in opened.parts.items())
    return Inspection(str(path), opened.system.name, opened.system.title, made, licence_of(path))


def inspect_bundle(path: Path) -> Inspection:
    """Inspect a bundle of Sumi's own."""
    from sumi.bundles.bundle import Bundle

    bundle = Bundle.load(path)
    parts = tuple(
        report(name, made, open_weights(path / name / "model.safetensors", path))
        for name, (_, made) in bundle.parts.items()
    )
    return Inspection(str(path), "sumi", f"Sumi bundle: {bundle.system}", parts, licence_of(path))


def inspect_clip(path: Path) -> Inspection:
    """Inspect a folder of transformers: a CLIPModel."""
    config_path = inside(path, path / "config.json")
    config = read_object(config_path)
    if config.get("model_type") != "clip" or config.get("architectures", ["CLIPModel"]) != ["CLIPModel"]:
        described = str(config.get("architectures", config.get("_class_name")))[:60]
        raise SumiError(
            f"{config_path} describes {described!r}: of networks alone only a CLIPModel is read; "
            f"give the folder with the {INDEX} that names the others"
        )
    part = open_part(path, path, "clip", "CLIPModel")
    parts = (report(part.name, part.kind, part.weights),)
    return Inspection(str(path), "transformers-clip", "CLIP (transformers)", parts, licence_of(path))


def inspect_open_clip(path: Path) -> Inspection:
    """Inspect a folder of open_clip: the configuration says what shapes cannot, heads and activation."""
    config_path = inside(path, path / OPEN_CLIP_CONFIG)
    config = read_object(config_path)
    config = config.get("model_cfg", config)
    if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("vision_cfg", "text_cfg")):
        raise SumiError(f"{config_path} needs vision_cfg and text_cfg, which say what its networks are")
    found = [path / f"{stem}{end}" for stem in OPEN_CLIP_WEIGHTS for end in (".safetensors", ".bin")]
    file = next((file for file in found if file.exists() or file.is_symlink()), None)
    if file is None:
        raise SumiError(f"{path} holds no weights: expected {found[0].name}")
    weights = open_weights(file, path)
    layout = recognise(weights.entries, str(file))
    if not layout.name.startswith("clip"):
        raise SumiError(f"{file} is {layout.title}, and {OPEN_CLIP_CONFIG} beside it describes a CLIP")
    facts = {
        "head_width": config["vision_cfg"].get("head_width", 64), "quick_gelu": bool(config.get("quick_gelu", False))
    }  # fmt: skip
    return Inspection(
        str(path), "open-clip", "CLIP (open_clip)", (report("clip", layout.title, weights, facts),), licence_of(path)
    )


def inspect_file(path: Path) -> Inspection:
    """Inspect one file of weights, or the index of shards."""
    weights = open_weights(path)
    layout = recognise(weights.entries, str(path))
    parts, ignored, unknown = divide_weights(layout, weights)
    return Inspection(str(path), layout.name, layout.title, parts, file_licence(weights), ignored, unknown)


def inspect_originals(path: Path) -> Inspection:
    """Inspect a folder of original files, each of a known layout."""
    files = sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES)
    if not files:
        raise SumiError(
            f"{path} holds no weights: a model is a folder with a {INDEX}, or holds files such as .safetensors or .pt"
        )
    layouts: set[str] = set()
    parts: list[PartInspection] = []
    for file in files:
        weights = open_weights(file, path)
        layout = recognise(weights.entries, str(file))
        layouts.add(layout.name)
        parts += divide_weights(layout, weights, file.stem)[0]
    for name, title, needed in ORIGINAL_SETS:
        if needed <= layouts:
            return Inspection(str(path), name, title, tuple(parts), licence_of(path))
    raise SumiError(f"the files in {path} are no system together: they are {', '.join(sorted(layouts))}")


def divide_weights(
    layout: OriginalLayout, weights: Weights, file: str | None = None
) -> tuple[tuple[PartInspection, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the parts of an original file, and the names that drawing does not need or that are unknown."""
    parts, ignored, unknown = divide(layout, weights.entries)
    try:
        facts = layout.facts(weights.entries)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        raise SumiError(f"{weights.path} looks like {layout.title}, but its tensors have other shapes") from None
    made = tuple(
        report(file or name, layout.title, weights, facts if number == 0 else {}, entries)
        for number, (name, entries) in enumerate(parts.items())
    )
    return made, tuple(sorted(ignored)), tuple(sorted(unknown))


def report(
    name: str,
    kind: str,
    weights: Weights,
    facts: Mapping[str, Any] | None = None,
    entries: Mapping[str, Entry] | None = None,
) -> PartInspection:
    """Count what a part holds."""
    entries = weights.entries if entries is None else entries
    dtypes: Counter[str] = Counter()
    for entry in entries.values():
        dtypes[DTYPE_NAMES[entry.dtype]] += prod(entry.shape)
    size_bytes = sum(prod(entry.shape) * entry.dtype.itemsize for entry in entries.values())
    files = (weights.path.name,)
    return PartInspection(
        name, kind, len(entries), sum(dtypes.values()), dict(dtypes), size_bytes, files, dict(facts or {})
    )


def licence_of(path: Path) -> str | None:
    """Return the licence that the front matter of a model card names."""
    card = path / CARD
    try:
        with inside(path, card).open("rb") as file:
            text = file.read(MOST_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:[ \t]*(?:\n[ \t]*-[ \t]*)?([^\n#]+)", front.group(1), re.MULTILINE) if front else None
    return found.group(1).strip(" '\"")[:100] or None if found else None


def file_licence(weights: Weights) -> str | None:
    """Return the licence in the metadata of a safetensors file, where the model specification keeps it."""
    licence = weights.metadata.get("modelspec.license") if isinstance(weights, TensorFile) else None
    return licence[:100] if licence else None


def amount(number: int) -> str:
    """Return a count of parameters, as 859.5 M."""
    return f"{number / 1e6:,.1f} M" if number >= 1e5 else f"{number:,}"


def size(number: int) -> str:
    """Return a number of bytes, as 1.72 GB."""
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.2f} MB"


def facts_text(facts: Mapping[str, Any]) -> str:
    """Return facts on one line."""

    def plain(value: Any) -> str:
        if isinstance(value, Mapping):
            return "(" + facts_text(value) + ")"
        return "/".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)

    return ", ".join(f"{name} {plain(value)}" for name, value in facts.items())
