"""The tokenizer of CLIP's text towers: byte-level BPE over lower-cased words, from the files that were published.

    "a red fox" -> <|startoftext|> a</w> red</w> fox</w> <|endoftext|> pad pad ...

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020, section
2.4. The library `tokenizers` does the merging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.bundles.json_file import read_object
from sumi.errors import SumiError

__all__ = ["CLIPTokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What is merged by itself: endings of English, runs of letters, single digits, runs of other signs."""


@dataclass(frozen=True)
class CLIPTokenizer:
    """Turns prompts into the ids of a text tower.

    Args:
        model: a `tokenizers.Tokenizer` without padding and truncation.
        start: the id before a text.
        end: the id after it.
        pad: the id that fills the rest: the end again in Stable Diffusion 1, "!" in 2.
        length: ids a text, start and end included.
    """

    model: Any
    start: int
    end: int
    pad: int
    length: int = 77

    @classmethod
    def read(cls, folder: Path, length: int, pad: str | None = None) -> CLIPTokenizer:
        """Read `tokenizer.json`, or `vocab.json` and `merges.txt`; SumiError for what does not fit.

        pad: the token that fills a text, where the model wants another than the folder names.
        """
        if find_spec("tokenizers") is None:
            raise SumiError("published models read prompts with the library tokenizers: pip install 'sumi[published]'")
        try:
            model = _from_json(folder) if (folder / "tokenizer.json").is_file() else _from_merges(folder)
        except SumiError:
            raise
        except Exception as error:  # the library raises bare exceptions
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise SumiError(f"{folder} holds no tokenizer of CLIP's: {reason}") from None
        pad = _pad_token(folder) if pad is None else pad
        ids = {name: model.token_to_id(name) for name in (START, END, pad)}
        if missing := [name for name, number in ids.items() if number is None]:
            raise SumiError(f"{folder} holds no tokenizer of CLIP's: it has no token {missing[0][:40]}")
        return cls(model, ids[START], ids[END], ids[pad], length)

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, without start and end."""
        return list(self.model.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the ids of texts, (B, length) int64; what is beyond the length is left out."""
        return self.rows([self.ids(text)[: self.length - 2] for text in texts])

    def rows(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return texts of at most length - 2 ids with start, end and padding, (B, length) int64."""
        rows = [[self.start, *ids, self.end] for ids in texts]
        return torch.tensor([row + [self.pad] * (self.length - len(row)) for row in rows], dtype=torch.int64)

    def notes(self, text: str) -> list[str]:
        """Return a remark on a text that is longer than is read."""
        count, room = len(self.ids(text)), self.length - 2
        return [f"the prompt has {count} tokens, and the model reads the first {room}"] if count > room else []

    def mask(self, ids: Tensor) -> Tensor:
        """Return which ids (B, length) belong to a text, its start and end included, and which only fill the row."""
        ends = (ids == self.end).int()
        return ends.cumsum(dim=1) - ends == 0


def _from_json(folder: Path) -> Any:
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model.no_padding()
    model.no_truncation()
    return model


def _from_merges(folder: Path) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    bpe = models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>", unk_token=END
    )
    model = Tokenizer(bpe)
    model.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return model


def _pad_token(folder: Path) -> str:
    """Return the token that fills a text: that of the first file that names one, else the end."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            token = read_object(folder / name).get("pad_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                return token
    return END
