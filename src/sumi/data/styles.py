"""Styles as tensor operations on a finished picture, before its background is laid.

Each takes premultiplied RGBA (B, 4, S, S) in [0, 1] and a texture number per picture, and keeps

    rgb <= alpha,    every stroke, grain and tile a fixed fraction of the frame

so that a style at 256 px is the same style, sharper, as at 64 px.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["STYLERS", "blur"]

Styler = Callable[[Tensor, Sequence[int]], Tensor]

_NUM_TEXTURES = 32
_PAPER = (0.985, 0.975, 0.95)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, S, S); `sigma` is a fraction of the frame.

    Beyond the frame everything goes on as at its border, or the frame itself would show as an edge.
    """
    band = _band(x.shape[-1], sigma).to(x)
    return band @ (x @ band.T)


@cache
def _band(size_px: int, sigma: float) -> Tensor:
    """The blur of one axis as a matrix (S, S): a product beats a convolution of single channels on a CPU."""
    line = torch.arange(size_px, dtype=torch.float64)
    reach = math.ceil(3 * sigma * size_px) + 1
    reached = torch.arange(-reach, size_px + reach, dtype=torch.float64)
    weight = torch.exp(-0.5 * ((reached[None] - line[:, None]) / (sigma * size_px)) ** 2)
    weight[weight < 1e-5] = 0  # the far tails would be denormal numbers, which are slow
    weight = weight / weight.sum(1, keepdim=True)
    band = torch.zeros(size_px, size_px, dtype=torch.float64)
    band.index_add_(1, reached.clamp(0, size_px - 1).long(), weight)
    return band.float()


@cache
def _noise_bank() -> Tensor:
    """Smooth random fields in [-1, 1], (_NUM_TEXTURES, 3, 24, 24), the same on every machine."""
    draws = np.random.default_rng(20240229).random((_NUM_TEXTURES, 3, 24, 24))
    return torch.from_numpy(draws * 2 - 1).float()


def _noise(textures: Sequence[int], size_px: int, x: Tensor) -> Tensor:
    """Three noise fields per picture, (B, 3, S, S)."""
    chosen = _noise_bank()[[t % _NUM_TEXTURES for t in textures]].to(x)
    return F.interpolate(chosen, size=(size_px, size_px), mode="bicubic", align_corners=False)


def _straight(picture: Tensor) -> tuple[Tensor, Tensor]:
    alpha = picture[:, 3:]
    return (picture[:, :3] / alpha.clamp_min(1e-4)).clamp(0, 1), alpha


def _grey(rgb: Tensor) -> Tensor:
    return 0.3 * rgb[:, :1] + 0.59 * rgb[:, 1:2] + 0.11 * rgb[:, 2:3]


def _join(rgb: Tensor, alpha: Tensor) -> Tensor:
    return torch.cat([rgb.clamp(0, 1) * alpha, alpha], dim=1)


def _edges(picture: Tensor, sigma: float) -> Tensor:
    """How much darker or lighter than its surroundings a pixel is: lines of width about sigma."""
    onto_white = picture[:, :3] + (1 - picture[:, 3:])
    onto_black = picture[:, :3]
    both = torch.cat([onto_white, onto_black], dim=1)
    narrow, wide = blur(both, sigma), blur(both, 2 * sigma)
    return (narrow - wide).abs().amax(1, keepdim=True)


def pencil(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """Graphite lines where tones change and hatching in the shadows, on paper cut to the outline."""
    size_px = picture.shape[-1]
    rgb, alpha = _straight(picture)
    noise = _noise(textures, size_px, picture)
    line = (_edges(picture, 0.008) * 9 - 0.25).clamp(0, 1)
    axis = torch.arange(size_px, device=picture.device, dtype=picture.dtype) / size_px
    diagonal = (axis[:, None] + axis[None, :])[None, None] + 0.01 * noise[:, :1]
    hatch = 0.5 + 0.5 * torch.cos(2 * math.pi * diagonal / 0.055)
    dark = 1 - _grey(rgb)
    shade = (dark * (0.25 + 0.6 * hatch) - 0.12).clamp(0, 0.75) * (0.85 + 0.15 * noise[:, 1:2])
    ink = torch.maximum(line * 0.9, shade)
    paper = torch.tensor(_PAPER, device=picture.device).view(1, 3, 1, 1)
    graphite = torch.tensor((0.2, 0.2, 0.23), device=picture.device).view(1, 3, 1, 1)
    solid = (blur(alpha, 0.008) * 1.6).clamp(0, 1)
    return _join(paper + (graphite - paper) * ink, solid)


PIXELS_ACROSS = 32


def pixel_art(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """Big square pixels of few colours, with hard edges."""
    size_px = picture.shape[-1]
    small = F.adaptive_avg_pool2d(picture, (PIXELS_ACROSS, PIXELS_ACROSS))
    rgb, alpha = _straight(small)
    hard = (alpha > 0.5).to(picture.dtype)
    few = (rgb * 7).round() / 7
    return F.interpolate(_join(few, hard), size=(size_px, size_px), mode="nearest")


def watercolour(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """Pale washes that pool at their edges, with a wavering outline and grain."""
    size_px = picture.shape[-1]
    noise = _noise(textures, size_px, picture)
    axis = (torch.arange(size_px, device=picture.device, dtype=picture.dtype) + 0.5) / size_px * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], -1)[None] + 0.02 * noise[:, :2].permute(0, 2, 3, 1)
    wavy = F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    soft = blur(wavy, 0.007)
    rgb, alpha = _straight(soft)
    alpha = ((alpha - 0.25) * 1.8).clamp(0, 1)
    pooled = (blur(alpha, 0.012) - blur(alpha, 0.035)).clamp_min(0) * alpha
    inner = _edges(soft, 0.012)
    wash = 0.7 + 0.14 * blur(noise[:, 2:], 0.03) + 1.8 * pooled + 0.8 * inner
    paper = torch.tensor(_PAPER, device=picture.device).view(1, 3, 1, 1)
    return _join(paper + (rgb - paper) * wash.clamp(0.3, 1.1), alpha)


def neon(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """Glowing tubes along the edges of a dark pane."""
    rgb, alpha = _straight(blur(picture, 0.008))
    line = (_edges(picture, 0.011) * 7 - 0.35).clamp(0, 1)
    top, low = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    vivid = (rgb - low) / (top - low).clamp_min(0.06)
    grey = ((0.16 - (top - low)) / 0.08).clamp(0, 1)
    cyan = torch.tensor((0.2, 0.95, 1.0), device=picture.device).view(1, 3, 1, 1)
    hue = 0.12 + 0.88 * (vivid + (cyan - vivid) * grey)
    weight = alpha.clamp_min(1e-3)
    hue = blur(hue * weight, 0.03) / blur(weight, 0.03).clamp_min(1e-3)
    glow = blur(line, 0.03)
    light = (line + 0.9 * glow).clamp(0, 1)
    pane = (blur(picture[:, 3:], 0.012) * 2).clamp(0, 1)
    night = torch.tensor((0.05, 0.03, 0.11), device=picture.device).view(1, 3, 1, 1)
    solid = pane + (1 - pane) * light
    lit = night * pane * (1 - light) + hue * light + 0.5 * line**3
    return torch.cat([torch.minimum(lit, solid), solid], dim=1)


def silhouette(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """The outline alone, filled with ink."""
    ink = torch.tensor((0.09, 0.09, 0.11), device=picture.device).view(1, 3, 1, 1)
    return _join(ink.expand(len(picture), 3, *picture.shape[-2:]), picture[:, 3:])


TILES_ACROSS = 22


@cache
def _tiles(size_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Voronoi tiles of eight patterns: sites (8, T, 2) in [-1, 1], nearest site and joint per pixel."""
    rng = np.random.default_rng(7)
    step = (np.arange(TILES_ACROSS) + 0.5) / TILES_ACROSS
    x, y = np.meshgrid(step, step)
    regular = np.stack([x, y], -1).reshape(1, -1, 2)
    jitter = (rng.random((8, TILES_ACROSS**2, 2)) - 0.5) * 0.6 / TILES_ACROSS
    sites = torch.from_numpy(regular + jitter).float()
    # The two nearest sites are never more than two tiles away: 25 distances a pixel are enough.
    axis = (torch.arange(size_px) + 0.5) / size_px
    home = (axis * TILES_ACROSS).long()
    near = (home[:, None] + torch.arange(-2, 3)).clamp(0, TILES_ACROSS - 1)
    around = (near[:, None, :, None] * TILES_ACROSS + near[None, :, None, :]).flatten(2)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    apart = (sites[:, around] - points[:, :, None]).square().sum(-1).sqrt()
    # At the border the same site may stand in the list twice: only other sites count as second.
    first = apart.argmin(-1, keepdim=True)
    nearest = around.expand(8, -1, -1, -1).gather(3, first)
    closest = apart.gather(3, first)[..., 0]
    second = apart.masked_fill(around == nearest, torch.inf).amin(-1)
    return sites * 2 - 1, nearest[..., 0], second - closest


def mosaic(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """Irregular tiles, each of one colour, with joints between them."""
    size_px, count = picture.shape[-1], len(picture)
    sites, nearest, joint = (part.to(picture.device) for part in _tiles(size_px))
    pattern = torch.tensor([t % 8 for t in textures], device=picture.device)
    soft = blur(picture, 0.014)
    at_sites = F.grid_sample(soft, sites[pattern][:, :, None], mode="bilinear", align_corners=False)
    rgb, alpha = _straight(at_sites[..., 0][..., None])
    tile = torch.cat([rgb, (alpha > 0.4).to(rgb.dtype)], dim=1)[..., 0]
    index = nearest[pattern].view(count, 1, -1).expand(-1, 4, -1)
    laid = tile.gather(2, index).view(count, 4, size_px, size_px)
    gap = joint[pattern][:, None]
    stone = ((gap - 0.005) * size_px * 0.5 + 0.5).clamp(0, 1)
    light = 1 + 0.12 * ((0.03 - gap) / 0.03).clamp(0, 1)
    grout = torch.tensor((0.93, 0.91, 0.87), device=picture.device).view(1, 3, 1, 1)
    return _join(grout + (laid[:, :3] * light - grout) * stone, laid[:, 3:])


def sticker_outline(picture: Tensor, textures: Sequence[int]) -> Tensor:
    """A white die-cut border with a faint edge."""
    alpha = picture[:, 3:]
    near = blur(alpha, 0.03)
    slope = 0.035 * picture.shape[-1]
    white = ((near - 0.10) * slope * 4 + 0.5).clamp(0, 1)
    edge = ((near - 0.035) * slope * 8 + 0.5).clamp(0, 1)
    rgb = 0.72 + 0.28 * white
    rest = 1 - alpha
    return torch.cat([picture[:, :3] + rgb * edge * rest, alpha + edge * rest], dim=1)


STYLERS: Mapping[str, Styler] = {
    "pencil drawing": pencil,
    "pixel art": pixel_art,
    "watercolour": watercolour,
    "neon": neon,
    "silhouette": silhouette,
    "mosaic": mosaic,
    "sticker outline": sticker_outline,
}
