"""VQ-VAE: pictures as discrete tokens, and a transformer that generates them.

van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv 1711.00937.

    k = argmin_j |z - e_j|,    p(x) = p(x | k) p(k),    ln p(k) = sum_i ln p(k_i | k_1 ... k_{i-1})

The codec is trained first (section 3.1) and frozen; a transformer learns the distribution of its tokens (3.3).
`TokenSystem` is both stages, for any codec, with captions or without; DALL-E 1 is another value of it. Known
deviations: RGBA; small; codes follow running means (appendix A.1) and unused ones are reset; the prior is a transformer
where the paper has a PixelCNN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.autoregressive import DEFAULT_SAMPLING, TokenSampling, sample_tokens, stream_tokens
from sumi.codecs import VQVAE
from sumi.conditioning import WordTokenizer
from sumi.diffusion import seeded
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.nn import TokenTransformer
from sumi.pipelines.events import Progress
from sumi.pipelines.steps import Work
from sumi.systems import Examples, Method
from sumi.systems.objectives import sheet, take, to_picture
from sumi.systems.pipeline import Pipeline, SampleRequest, captions_of
from sumi.training import Batch, Objective

__all__ = ["VQVAE_2017", "TokenCodecObjective", "TokenObjective", "TokenSystem", "codec_halves"]

GRID = 8  # tokens on a side of any picture


@dataclass(frozen=True)
class TokenCodecObjective:
    """Train a codec of tokens on pictures, uint8 (N, 4, S, S)."""

    name: str
    model: Any
    pictures: Any

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Return the codec's own loss, with the perplexity of its tokens."""
        x = from_levels(take(self.pictures, batch.indices, batch.rng.device))
        return model.losses(x, batch.rng, batch.step / batch.num_steps)  # type: ignore[no-any-return]

    @torch.no_grad()
    def picture(self, model: Any) -> Tensor:
        """Return pictures above, and their reconstructions from tokens below."""
        some = torch.linspace(0, len(self) - 1, 12).long()
        x = take(self.pictures, some, next(model.parameters()).device)
        return sheet([x, to_picture(model.decode(model.encode(from_levels(x))))])


@dataclass(frozen=True)
class TokenObjective:
    """Predict captions `ids` (N, T) and pictures' `tokens` (N, L); a caption's loss weighs 1/8."""

    name: str
    model: Any
    codec: Any
    ids: Any
    tokens: Any

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.tokens)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return cross-entropies in nats per token, weighted as in DALL-E (section 2.2)."""
        ids, tokens = (take(rows, batch.indices, batch.rng.device) for rows in (self.ids, self.tokens))
        logits = model(ids, tokens[:, :-1])
        text, image = (F.cross_entropy(a.float().mT, b) for a, b in zip(logits, (ids, tokens), strict=True))
        return {"loss": text / 8 + image * 7 / 8, "text": text.detach(), "image": image.detach()}

    @torch.no_grad()
    def picture(self, model: Any) -> Tensor:
        """Return reconstructions from the true tokens above, and pictures drawn for the same captions below."""
        some = torch.linspace(0, len(self) - 1, 8).long()
        ids, true = (take(rows, some, model.start.device) for rows in (self.ids, self.tokens))
        rows = (true, sample_tokens(model, ids, true[:, :0], seeded(range(len(some)))))
        return sheet([to_picture(self.codec.decode(row.view(-1, model.side, model.side))) for row in rows])


@dataclass(frozen=True)
class TokenSystem(Method):
    """A codec, made for a size in pixels; a tokenizer of captions; and the arguments of the transformer."""

    name: str
    codec: Callable[[int], nn.Module]
    tokenizer: WordTokenizer
    network: Mapping[str, Any]
    sampling: TokenSampling = DEFAULT_SAMPLING
    stages: tuple[str, ...] = ("codec", "transformer")

    def caption_tokenizer(self) -> WordTokenizer:
        """Return the tokenizer of its captions."""
        return self.tokenizer

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        """Train the codec on pictures, and the transformer on captions and the codec's tokens."""
        if stage == "codec":
            model = parts.get(stage) or self.codec(examples.pictures.shape[-1])
            return TokenCodecObjective(f"{self.name}-codec", model, examples.pictures)
        codec: Any = parts["codec"]
        device = next(codec.parameters()).device
        batches = torch.split(torch.arange(len(examples.pictures)), 64)
        with torch.no_grad():
            signals = (from_levels(take(examples.pictures, some, device)) for some in batches)
            tokens = torch.cat([codec.encode(x).cpu() for x in signals])
        ids = self.tokenizer.encode(examples.captions or [""] * len(tokens))
        sizes = (self.tokenizer.size, self.tokenizer.context, codec.codes, tokens.shape[-1])
        model = parts.get(stage) or TokenTransformer(*sizes, **self.network)
        return TokenObjective(self.name, model, codec, ids, tokens.flatten(1))

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw pictures token by token."""
        return TokenPipeline(self, parts)

    @torch.no_grad()
    def complete(
        self, parts: Mapping[str, Any], captions: Sequence[str], seeds: Sequence[int], top: Tensor | None = None
    ) -> Work[Tensor]:
        """Generate pictures (B, 4, S, S) in [-1, 1], one for each caption and seed, below `top` if it is given."""
        codec, model = parts["codec"], parts["transformer"]
        ids = self.tokenizer.encode(captions).to(model.start.device)
        known, side_px = ids[:, :0], codec.factor * model.side
        if top is not None:
            height, width = top.shape[-2:]
            if width != side_px or height % codec.factor or not 0 < height < side_px:
                raise SumiError(f"a top of {width} x {height} px does not fit {side_px} px, {codec.factor} px a token")
            known = codec.encode(top.to(ids.device)).flatten(1)  # alone: its tokens know nothing of what follows
        for done, tokens in enumerate(
            stream_tokens(model, ids, known, seeded(seeds), self.sampling), start=known.shape[1]
        ):
            if done > known.shape[1]:
                yield Progress("transformer", done, model.length, tokens, tuple(seeds))
        return codec.decode(tokens.view(-1, model.side, model.side))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TokenPipeline(Pipeline):
    """The trained parts of a system of tokens."""

    system: TokenSystem
    parts: Mapping[str, nn.Module]

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw pictures of the captions."""
        captions = captions_of(self.system.name, request)
        return to_picture((yield from self.system.complete(self.parts, captions, request.seeds)))


def codec_halves(size_px: int) -> dict[str, Any]:
    """Return the arguments of a small codec whose tokens are about GRID along a side."""
    patch = max(1, size_px // (2 * GRID))
    return {"in_channels": 4, "channels": [32, 64], "blocks": [1, 1], "codes": 256, "patch": patch}


VQVAE_2017 = TokenSystem(
    name="vqvae",
    codec=lambda size_px: VQVAE(**codec_halves(size_px), width=32),
    tokenizer=WordTokenizer((), context=1),  # padding only
    network={"width": 128, "depth": 4, "heads": 4, "patterns": ["full"] * 4},
)
