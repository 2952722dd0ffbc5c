"""OpenAI's discrete VAE, from its original files: a picture as a grid of tokens, and the tokens as a picture again.

    k ~ softmax(logits(x) / eta),  or the most likely at eta = 0;    x' = sigmoid(mu(k))

It draws no prompts: its task is the variation, which at eta 0 is the picture reconstructed from its tokens. Ramesh et
al. 2021, Zero-Shot Text-to-Image Generation, arXiv 2102.12092, section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from sumi.codecs.dvae import map_pixels, unmap_pixels
from sumi.errors import SumiError
from sumi.nn.published import DVAEDecoder, DVAEEncoder
from sumi.pipelines import Pause, Progress, Settings, Task, Vary, seeded_generators
from sumi.pipelines.steps import Work
from sumi.systems.published.framing import Frame, fit_frame
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import RGB, AnyPrompt, PictureBatch, opaque, over_white

__all__ = ["DiscreteVAE"]

FACTOR: Final = 8
"""Pixels along a side of what one token stands for."""
LARGEST_PX: Final = 2048
DVAE: Final = "dvae"


@dataclass(frozen=True)
class DiscreteVAE(AnyPrompt):
    """Both halves."""

    encoder: DVAEEncoder
    decoder: DVAEDecoder
    tasks: ClassVar[tuple[type[Task], ...]] = (Vary,)
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = DVAE
    settings: ClassVar[Mapping[str, Settings]] = {DVAE: Settings("tokens", 1)}
    drawing_stages: ClassVar[Mapping[str, int]] = {}
    size_px: ClassVar[int] = 256
    sizes: ClassVar[tuple[int, ...]] = (128, 256, 512)
    grid_places: ClassVar[int] = (256 // FACTOR) ** 2

    @classmethod
    def read(cls, loader: ModelLoader) -> DiscreteVAE:
        """Load both halves of an opened model."""
        return cls(loader.part("encoder", DVAEEncoder), loader.part("decoder", DVAEDecoder))

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """None: it takes no steps."""
        return ()

    def notes(self, task: Task) -> list[str]:
        """None."""
        return []

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for a size that tokens do not divide, or that is too large."""
        if size_px % FACTOR or not FACTOR <= size_px <= LARGEST_PX:
            raise SumiError(f"size should be a multiple of {FACTOR} up to {LARGEST_PX}, not {size_px}")

    def frame_of(self, size: tuple[int, int], longest_px: int) -> Frame:
        """Return the sides that a picture of some width and height is drawn at, in its own proportions."""
        return fit_frame(size, longest_px, FACTOR)

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Accept any: there are no stages."""

    def preview(self, progress: Progress) -> Tensor | None:
        """None."""
        return None

    @torch.no_grad()
    def encode(self, pictures: Tensor, eta: float = 0.0, rngs: Sequence[torch.Generator] = ()) -> Tensor:
        """Return tokens of pictures.

        Args:
            pictures: premultiplied uint8 (N, 4, H, W).
            eta: the temperature at which tokens are drawn; 0 takes the most likely.
            rngs: a generator for each sample, of one picture or of as many.

        Returns:
            int64 (B, H/8, W/8), B the number of generators, or of pictures where eta is 0.
        """
        logits: Tensor = self.encoder(map_pixels((over_white(pictures) + 1) / 2))
        if eta == 0:
            return logits.argmax(dim=1)
        logits = logits.expand(len(rngs), -1, -1, -1)
        gumbel = [-torch.empty(logits.shape[1:]).exponential_(generator=rng).log() for rng in rngs]
        return (logits + eta * torch.stack(gumbel)).argmax(dim=1)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Return the median pictures of tokens (B, h, w), opaque uint8 (B, 4, 8 h, 8 w)."""
        mu = self.decoder(tokens)[:, :RGB]
        return opaque(2 * unmap_pixels(torch.sigmoid(mu)) - 1)

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures: opaque uint8 (B, 4, H, W)."""
        yield Pause()
        assert isinstance(task, Vary)
        tokens = self.encode(batch.sources, task.eta, seeded_generators(batch.seeds, DVAE))
        yield Pause()
        return self.decode(tokens).expand(len(batch), -1, -1, -1)
