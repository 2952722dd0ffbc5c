"""Which of the drawings that taught a model are nearest to a picture: what it would look like had it been copied.

    cosine   = z(picture) . z(drawing)                                     what CLIP sees in them
    distance = sqrt(mean((aligned(picture) - aligned(drawing))^2))         pixel by pixel, 0 to 1

over premultiplied RGBA. Aligned: cut to the box of what can be seen, which is laid whole into a square, so that a copy
is found wherever it lies and however large it is; turned, mirrored or recoloured ones are not undone. The drawing that
is nearest pixel by pixel is always among those returned. A model carries its drawings small (see `sumi.bundles`).
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from sumi.imaging.pixels import pad_to_square, premultiply
from sumi.pipelines.checks import check_count
from sumi.pipelines.explanation import Drawings, Neighbor
from sumi.pipelines.unclip import UnCLIPPipeline

__all__ = ["LEVELS", "MOST_NEAREST", "aligned", "all_distances", "distances", "nearest"]

LEVELS = 32
"""Drawings are kept in so many levels a channel, and compared in them."""
MOST_NEAREST = 64
SEEN = 0.25
"""What has less alpha is a network's haze or a soft edge, and does not move the box."""


def aligned(picture: Tensor, size_px: int) -> Tensor:
    """Return a premultiplied picture (4, H, W) of [0, 1], cut to its tight box, as uint8 (4, size_px, size_px)."""
    seen = picture[3] > SEEN
    if not seen.any():
        return torch.zeros(4, size_px, size_px, dtype=torch.uint8)
    rows, columns = seen.any(dim=1).nonzero()[:, 0], seen.any(dim=0).nonzero()[:, 0]
    cut = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = 255 / (LEVELS - 1)
    coarse = (pad_to_square(cut, size_px) * (LEVELS - 1)).round() * step
    return coarse.round().to(torch.uint8)


def distances(picture: Tensor, others: Tensor) -> Tensor:
    """Return how far a picture, uint8 (4, S, S), is from others (N, 4, S, S): (N,) in [0, 1]."""
    parts = [((some.float() - picture.float()) / 255).square().mean(dim=(1, 2, 3)) for some in torch.split(others, 256)]
    return torch.cat(parts).sqrt()


def all_distances(pictures: Tensor, others: Tensor) -> Tensor:
    """Return how far each of some pictures (M, 4, S, S) is from each of others (N, 4, S, S), (M, N), to about 0.001."""
    one, other = (some.flatten(1).float() / 255 for some in (pictures, others))
    squares = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1) - 2 * one @ other.T
    return (squares.clamp_min(0) / one.shape[1]).sqrt()


@torch.no_grad()
def nearest(pipeline: UnCLIPPipeline, drawings: Drawings, image: Image.Image, k: int = 6) -> list[Neighbor]:
    """Return the k drawings nearest to a picture by CLIP, nearest first, of which one is the nearest by pixels."""
    check_count("k", k, 1, min(MOST_NEAREST, len(drawings.rows)))
    picture = premultiply(image)
    small = aligned(picture, drawings.pictures.shape[-1])
    apart = distances(small, drawings.pictures)
    cosines = drawings.embeddings.float() @ pipeline.embed(aligned(picture, pipeline.size_px)[None])[0]
    chosen = cosines.topk(k).indices.tolist()
    closest = int(apart.argmin())
    if closest not in chosen:
        chosen[-1] = closest
    return [Neighbor(drawings.rows[n], float(cosines[n]), float(apart[n]), drawings.pictures[n]) for n in chosen]
