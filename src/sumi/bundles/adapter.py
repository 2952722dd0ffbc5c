"""An adapter: one small safetensors file that teaches a model a new thing, and the record of how it was made.

    prior.<module>.lora_A.weight  (rank, in)      W <- W + weight · alpha / rank · lora_B lora_A
    prior.<module>.lora_B.weight  (out, rank)     of each changed layer of each part, in PEFT's names
    words                         (K, width)      the embeddings of the new words, the noun and its plural

The metadata says which base it was made for (the sha256 of each part), the word and what it means, rank, alpha, date,
and the sha256 of every picture that taught it. An adapter is refused beside any other base, because its numbers mean
nothing there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sumi.atomic_file import write_atomic
from sumi.bundles.json_file import parse_json
from sumi.bundles.tensors import TensorFile
from sumi.errors import SumiError

__all__ = ["NAME", "SUFFIX", "Adapter", "AdapterRecord", "save_adapter"]

FORMAT = "sumi-adapter-1"
SUFFIX = ".safetensors"
NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
"""What an adapter may be called."""
WORDS = "words"
_LAYER = re.compile(r"([a-z][a-z0-9_]*)\.(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True)
class AdapterRecord:
    """How an adapter was made.

    Attributes:
        name: what `--with` calls it.
        concept: what the pictures show, as the person said it: "my cat Mochi".
        word: the new word, and plural: the word for several.
        stand_in: the taught thing that the word was first taken for; at weight 0 it means that.
        base: the name of the model it was made for, and hashes: the sha256 of each of its parts that count.
        rank, alpha: of the changes.
        date: of its making, as 2026-11-30T12:00:00Z.
        pictures: the sha256 of each file that taught it.
        steps: of its training.
        version: of Sumi.
        rights: whose the pictures are, a row for each licence and author; empty in adapters of earlier versions.
        rights_note: how many of them name no licence; "" where all do.
    """

    name: str
    concept: str
    word: str
    plural: str
    stand_in: str
    base: str
    hashes: Mapping[str, str]
    rank: int
    alpha: float
    date: str
    pictures: tuple[str, ...]
    steps: int
    version: str
    rights: tuple[Mapping[str, Any], ...] = ()
    rights_note: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Return the record as the strings of a safetensors header; lists and objects are JSON."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {"format": FORMAT, "num_pictures": str(len(self.pictures))} | {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> AdapterRecord:
        """Return the record in a header; SumiError for a file that is no adapter of Sumi's, or a damaged one."""
        if metadata.get("format") != FORMAT:
            raise SumiError(f"{path} is no adapter of Sumi's: its header does not say {FORMAT}")
        texts = {"name", "concept", "word", "plural", "stand_in", "base", "date", "version", "rights_note"}
        values: dict[str, Any] = {}
        for entry in fields(cls):
            text = metadata.get(entry.name)
            if text is None and entry.default is not MISSING:
                continue
            if text is None:
                raise SumiError(f"{path} is a damaged adapter: its header lacks {entry.name}")
            values[entry.name] = text if entry.name in texts else parse_json(text.encode(), f"{entry.name} in {path}")
        record = cls(**{**values, **{name: tuple(values.get(name, ())) for name in ("pictures", "rights")}})
        sound = isinstance(record.rank, int) and 0 < record.rank <= 4096 and isinstance(record.alpha, int | float)
        sound &= isinstance(record.hashes, dict) and isinstance(record.steps, int)
        if not (sound and re.fullmatch(NAME, record.name) and record.word and record.plural):
            raise SumiError(f"{path} is a damaged adapter: its header does not make sense")
        return record

    def to_json(self) -> dict[str, Any]:
        """Return what a list of adapters says of it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)} | {
            "pictures": list(self.pictures),
            "rights": list(self.rights),
        }


class Adapter:
    """An opened adapter file. Its tensors are mapped, and read when they are merged.

    Attributes:
        record: how it was made.
        sha256: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Open and check the file; SumiError when it is missing, damaged, or something else."""
        self._file = TensorFile(path)
        self.path, self.record = path, AdapterRecord.from_metadata(self._file.metadata, path)
        self.sha256 = self._file.sha256()
        self.layers: dict[tuple[str, str], dict[str, str]] = {}
        for name in self._file.entries:
            found = _LAYER.fullmatch(name)
            if found is not None:
                self.layers.setdefault((found[1], found[2]), {})[found[3]] = name
            elif name != WORDS:
                raise SumiError(f"{path} is a damaged adapter: it holds {name}, which is no change of a layer")
        if WORDS not in self._file.entries or any(roles.keys() != {"A", "B"} for roles in self.layers.values()):
            raise SumiError(f"{path} is a damaged adapter: half of a change, or its words, are missing")

    @property
    def words(self) -> Tensor:
        """The embeddings of its words, (K, width), float32."""
        return self._file.tensor(WORDS).float()

    @property
    def parts(self) -> set[str]:
        """The parts of a model that it changes."""
        return {part for part, _ in self.layers}

    def check_base(self, hashes: Mapping[str, str], model: str) -> None:
        """Raise SumiError unless the parts of a model are those that it was made for."""
        strange = [part for part, value in self.record.hashes.items() if hashes.get(part) != value]
        if strange:
            record = self.record
            raise SumiError(
                f"the adapter {record.name} was made for another model than {model}: for {record.base}, whose "
                f"{' and '.join(strange)} differ{'s' if len(strange) == 1 else ''}; teach it again on this one"
            )

    def merge(self, part: str, network: nn.Module, weight: float) -> None:
        """Add its change of one part to the weights, in place (SumiError where it does not fit them)."""
        scale = weight * self.record.alpha / self.record.rank
        for (changed, module), roles in self.layers.items():
            if changed != part:
                continue
            down, up = (self._file.tensor(roles[role]).float() for role in ("A", "B"))
            try:
                target = network.get_submodule(module).weight
            except AttributeError:
                raise SumiError(f"{self.path} changes {part}.{module}, which this model does not have") from None
            assert isinstance(target, Tensor)
            if (
                down.ndim < 2
                or up.ndim < 2
                or up.flatten(1).shape[1] != down.shape[0]
                or ((len(up), *down.shape[1:]) != tuple(target.shape))
            ):
                raise SumiError(f"{self.path}: its change of {part}.{module} does not fit the weight")
            change = (up.flatten(1) @ down.flatten(1)).view(target.shape)
            with torch.no_grad():
                target.add_(change.to(target), alpha=scale)


def save_adapter(path: Path, tensors: Mapping[str, Tensor], words: Tensor, record: AdapterRecord) -> str:
    """Write an adapter, its tensors in bfloat16, whole or not at all; return the sha256 of the file."""
    kept = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    kept[WORDS] = words.detach().to("cpu", torch.float32).contiguous()
    data = save(kept, record.to_metadata())
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()
