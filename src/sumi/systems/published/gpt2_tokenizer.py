"""The tokenizer of GLIDE: the byte-level BPE of GPT-2 over lower-cased texts, without a start or an end.

    "a red fox" -> a \u0120red \u0120fox, and <|endoftext|> up to the length of the row, which a mask leaves out

Nichol et al. 2021, arXiv 2112.10741, section 4; Radford et al. 2019, Language Models are Unsupervised Multitask
Learners, section 2.2. The library `tokenizers` does the merging.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from sumi.bundles.published import find_bpe
from sumi.errors import SumiError

__all__ = ["GPT2Tokenizer", "TokenRows"]

MOST_BYTES: Final = 2**25
"""Of a file of the tokenizer, once it is not compressed any more."""


class TokenRows(NamedTuple):
    """The ids of texts, (B, L) int64, and which of them belong to the text, (B, L) bool."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class GPT2Tokenizer:
    """Turns prompts into the ids of a text encoder.

    Args:
        model: a `tokenizers.Tokenizer`.
        pad: the id that fills a row.
        length: ids a row.
    """

    model: Any
    pad: int
    length: int

    @classmethod
    def read(cls, folder: Path, length: int, vocabulary: int) -> GPT2Tokenizer:
        """Read the tokens and the merges of a folder; SumiError for what does not fit.

        Args:
            folder: holds encoder.json and vocab.bpe, or vocab.json and merges.txt, each perhaps with .gz behind.
            length: ids a row.
            vocabulary: tokens that the text encoder knows.
        """
        if find_spec("tokenizers") is None:
            raise SumiError("published models read prompts with the library tokenizers: pip install 'sumi[published]'")
        files = find_bpe(folder)
        if files is None:
            raise SumiError(f"{folder} holds no tokenizer of GLIDE's: expected encoder.json and vocab.bpe, or GPT-2's")
        tokens, model = _build_bpe(*files)
        if len(tokens) != vocabulary or set(tokens.values()) != set(range(vocabulary)):
            raise SumiError(f"{files[0]} has {len(tokens)} tokens, and the text encoder reads {vocabulary}")
        return cls(model, vocabulary - 1, length)

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return list(self.model.encode(text.lower()).ids)

    def encode(self, texts: Sequence[str]) -> TokenRows:
        """Return texts as rows of ids; what is beyond the length is left out."""
        found = [self.ids(text)[: self.length] for text in texts]
        rows = [ids + [self.pad] * (self.length - len(ids)) for ids in found]
        counts = torch.tensor([len(ids) for ids in found])
        return TokenRows(torch.tensor(rows, dtype=torch.int64), torch.arange(self.length) < counts[:, None])

    def notes(self, text: str) -> list[str]:
        """Return a remark on a text that is longer than is read."""
        count = len(self.ids(text))
        return [f"the prompt has {count} tokens, and the model reads the first {self.length}"] * (count > self.length)


def _build_bpe(tokens_file: Path, merges_file: Path) -> tuple[dict[str, int], Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    lines = [line for line in _text(merges_file).splitlines() if line and not line.startswith("#version")]
    merges = [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]
    try:
        tokens = json.loads(_text(tokens_file))
        model = Tokenizer(models.BPE(vocab=tokens, merges=merges))
    except SumiError:
        raise
    except Exception as error:  # the library raises bare exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SumiError(f"{tokens_file} and {merges_file.name} are no byte-pair encoding: {reason}") from None
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokens, model


def _text(path: Path) -> str:
    """Return the text of a file, perhaps compressed; SumiError for one that is damaged or too long."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise SumiError(f"{path} is over {MOST_BYTES} bytes, which no tokenizer is")
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise SumiError(f"{path} is damaged: {error}") from None
