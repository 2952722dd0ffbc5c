"""Drawing scenes on tensors: an atlas of sprites, one affine sampling per layer, 'over' compositing.

A scene is a stack of layers. All scenes of a batch draw their k-th layer together, each layer by one of
three means (sprite, figure, letter), and premultiplied colours compose as

    canvas <- layer + (1 - layer_alpha) * canvas

Sprites are read from the mip level nearest above the wanted size, so that bilinear sampling neither aliases
nor blurs. Positions are fractions of the frame: the same scene at 64 and 256 px is the same picture.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.data.atlas import LEVELS_PX, Atlas
from sumi.data.augmentation import STROKES, affine, elastic_grid, in_palette, outlined, palettes
from sumi.data.glyphs import FIELD_MARGIN, letter_fields, letter_index, outline
from sumi.data.people import Person
from sumi.data.scene import COLOURS, Lettering, Place, Scene, Shape, Thing, Variation
from sumi.data.styles import STYLERS
from sumi.errors import SumiError
from sumi.imaging.letters import WEIGHTS, advance, distance, line_width

__all__ = ["Sprites", "recolour", "render", "tones"]

Box = tuple[float, float, float, float]


class Sprites:
    """An atlas made ready to draw from: levels on a device, boxes and tones known per row."""

    def __init__(self, atlas: Atlas, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.levels: tuple[int, ...] = tuple(sorted(LEVELS_PX))
        self.boxes: list[Box] = [row.box for row in atlas.rows]
        self._atlas = atlas
        self._on_device: dict[int, Tensor] = {}
        self._rows: dict[tuple[str, str, str | None, str | None], int] = {}
        for number, row in enumerate(atlas.rows):
            self._rows.setdefault((row.concept, row.hand, *_who(row.person)), number)

    def level(self, size_px: int) -> Tensor:
        """All drawings at one size: premultiplied RGBA uint8 (N, 4, size_px, size_px)."""
        if size_px not in self._on_device:
            self._on_device[size_px] = self._atlas.level(size_px).to(self.device)
        return self._on_device[size_px]

    def drawings(self, size_px: int, rows: Tensor) -> Tensor:
        """Some drawings at one size, (len(rows), 4, size_px, size_px); an accelerator is given all of them first."""
        if self.device.type == "cpu":
            return self._atlas.drawings(size_px, rows)
        return self.level(size_px)[rows]

    def row(self, thing: Thing) -> int:
        """The drawing of a thing; raises SumiError when the atlas has none."""
        found = self._rows.get((thing.concept, thing.hand, thing.gender, thing.tone))
        if found is None:
            raise SumiError(f"the atlas has no '{thing.concept}' by {thing.hand} ({thing.gender}, {thing.tone})")
        return found

    @cached_property
    def tones(self) -> Tensor:
        """What `recolour` needs of each row: float (N, 4), see `tones`."""
        return torch.cat([tones(chunk) for chunk in torch.split(self._atlas.level(32), 512)]).to(self.device)

    @cached_property
    def palettes(self) -> Tensor:
        """What `in_palette` needs of each row: float (N, 2, 3), see `augmentation.palettes`."""
        return torch.cat([palettes(chunk) for chunk in torch.split(self._atlas.level(32), 512)]).to(self.device)


def _who(person: Person | None) -> tuple[str | None, str | None]:
    """Gender and tone as a Thing spells them: None for the neutral ones."""
    if person is None:
        return None, None
    return (
        None if person.gender == "person" else person.gender,
        None if person.tone == "default" else person.tone,
    )


@dataclass(frozen=True, slots=True)
class _Sprite:
    row: int
    place: Place
    colour: str | None
    variation: Variation | None
    palette: int | None  # the row whose colours are taken


@dataclass(frozen=True, slots=True)
class _Letter:
    index: int
    x: float
    y: float
    height: float
    half_width: float
    colour: str


_Layer = _Sprite | _Letter | Shape


def layers(scene: Scene, sprites: Sprites) -> list[_Layer]:
    """A scene from back to front: figures, things (what is ridden lies behind its rider), letters."""
    stack: list[_Layer] = list(scene.shapes)
    for thing in scene.back_to_front:
        row, varied = sprites.row(thing), thing.variation
        palette = None if varied is None or varied.palette is None else sprites.row(replace(thing, hand=varied.palette))
        stack.extend(_Sprite(row, place, thing.colour, varied, palette) for place in thing.places)
    if scene.lettering is not None:
        stack.extend(_letters(scene.lettering))
    return stack


def _letters(line: Lettering) -> list[_Letter]:
    x = line.place.x - line_width(line.text, line.weight) * line.height / 2
    placed = []
    for letter in line.text:
        step = advance(letter, line.weight) * line.height
        centre = x + (step - 0.14 * line.height) / 2
        half_width = WEIGHTS[line.weight]
        placed.append(_Letter(letter_index(letter), centre, line.place.y, line.height, half_width, line.colour))
        x += step
    return placed


def render(scenes: Sequence[Scene], size_px: int, sprites: Sprites) -> Tensor:
    """Draw scenes: uint8 (B, 4, size_px, size_px), premultiplied RGBA, on the device of the sprites."""
    canvas = torch.zeros(len(scenes), 4, size_px, size_px, device=sprites.device)
    by_depth: dict[int, dict[type, list[tuple[int, _Layer]]]] = defaultdict(lambda: defaultdict(list))
    for index, scene in enumerate(scenes):
        for depth, layer in enumerate(layers(scene, sprites)):
            by_depth[depth][type(layer)].append((index, layer))
    for depth in sorted(by_depth):
        for kind, items in by_depth[depth].items():
            _DRAW[kind](_Canvas(canvas, empty=depth == 0), items, sprites)
    _apply_styles(canvas, scenes)
    _apply_backgrounds(canvas, scenes)
    return (canvas.clamp_(0, 1) * 255).round_().to(torch.uint8)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Pictures in the making, float (B, 4, S, S); `empty` where nothing lies below what is drawn now."""

    pixels: Tensor
    empty: bool

    def over(self, index: Tensor, layer: Tensor) -> None:
        """Lay premultiplied pictures over those numbered `index`."""
        if self.empty:
            self.pixels[index] = layer
        else:
            self.pixels[index] = torch.addcmul(layer, self.pixels[index], 1 - layer[:, 3:])


def _draw_sprites(canvas: _Canvas, items: Sequence[tuple[int, _Layer]], sprites: Sprites) -> None:
    size_px, device = canvas.pixels.shape[-1], canvas.pixels.device
    by_level: dict[int, list[tuple[int, _Sprite]]] = defaultdict(list)
    for index, layer in items:
        assert isinstance(layer, _Sprite)
        left, top, right, bottom = sprites.boxes[layer.row]
        wanted = layer.place.side * size_px / max(right - left, bottom - top)
        above = [level for level in sprites.levels if level >= 0.85 * wanted]
        by_level[min(above, default=max(sprites.levels))].append((index, layer))
    for level, group in by_level.items():
        patch = _patches([layer for _, layer in group], level, size_px, sprites)
        canvas.over(torch.tensor([index for index, _ in group], device=device), patch)


def _patches(group: Sequence[_Sprite], level: int, size_px: int, sprites: Sprites) -> Tensor:
    """Sprites as they lie in their frames, sampled from one level of the atlas: premultiplied (B, 4, S, S)."""
    device = sprites.device
    rows = torch.tensor([layer.row for layer in group], device=device)
    theta = torch.tensor([affine(s.place, sprites.boxes[s.row], s.variation) for s in group], device=device)
    grid = F.affine_grid(theta, [len(group), 4, size_px, size_px], align_corners=False)
    extents = [max(right - left, bottom - top) for left, top, right, bottom in (sprites.boxes[s.row] for s in group)]
    wobble = elastic_grid(size_px, [layer.variation for layer in group], extents)
    grid = grid if wobble is None else grid + wobble.to(device)
    picture = sprites.drawings(level, rows).float().div_(255)
    patch = F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if repainted := [k for k, layer in enumerate(group) if layer.palette is not None]:
        where, other = torch.tensor(repainted), torch.tensor([group[k].palette for k in repainted])
        patch[where] = in_palette(patch[where], sprites.palettes[rows[where]], sprites.palettes[other])
    if coloured := [k for k, layer in enumerate(group) if layer.colour is not None]:
        where = torch.tensor(coloured, device=device)
        names = [group[k].colour or "" for k in coloured]
        patch[where] = recolour(patch[where], names, sprites.tones[rows[where]])
    for width in STROKES:
        if outline := [k for k, layer in enumerate(group) if layer.variation and layer.variation.stroke == width]:
            patch[outline] = outlined(patch[outline], width)
    return patch


def tones(drawings: Tensor) -> Tensor:
    """What recolouring needs to know of uint8 drawings (N, 4, H, W): float (N, 4).

    Dark, middle and bright tone of the coloured part, and 1 where a drawing is so colourful that its whites
    should stay white.
    """
    picture = drawings.float().div_(255)
    rgb = picture[:, :3] / picture[:, 3:].clamp_min(1e-3)
    value, chroma = _tone(rgb), rgb.amax(1) - rgb.amin(1)
    body = picture[:, 3] > 0.6
    lively = body & (chroma > 0.22)
    keep = lively.flatten(1).sum(1) > 0.45 * body.flatten(1).sum(1)
    chosen = torch.where(keep[:, None, None], lively, body)
    chosen |= ~chosen.flatten(1).any(1)[:, None, None]
    flat = torch.where(chosen, value, torch.nan).flatten(1)
    quantiles = torch.nanquantile(flat, torch.tensor([0.04, 0.5, 0.96]), dim=1)
    return torch.cat([quantiles.T, keep[:, None].float()], dim=1)


def _tone(rgb: Tensor) -> Tensor:
    """Lightness of straight rgb (B, 3, H, W), vivid colours counted as a little darker than they are."""
    value = 0.32 * rgb[:, 0] + 0.53 * rgb[:, 1] + 0.15 * rgb[:, 2]
    return (value - 0.12 * (rgb.amax(1) - rgb.amin(1))).clamp(0, 1)


_SPAN = 0.22
"""The least difference in tone that is spread over half a ramp: fainter shading stays faint."""


def recolour(picture: Tensor, names: Sequence[str], known: Tensor) -> Tensor:
    """Paint premultiplied pictures (B, 4, H, W) in the named colours, keeping shading and line work.

    The drawing's middle tone becomes the colour itself, darker tones its shades and lighter ones its tints.
    Near-black lines stay; where the drawing is mostly colourful (see `tones`), its whites stay too.
    """
    alpha = picture[:, 3:].clamp_min(1e-4)
    rgb = (picture[:, :3] / alpha).clamp(0, 1)
    value, chroma = _tone(rgb), rgb.amax(1) - rgb.amin(1)
    low, middle, high, keep = (column[:, None, None] for column in known.unbind(1))
    below = (value - middle) / (middle - low).clamp_min(_SPAN)
    above = (value - middle) / (high - middle).clamp_min(_SPAN)
    tone = torch.where(value < middle, below, above).clamp(-1, 1)[:, None]
    ramps = torch.tensor([_ramp(name) for name in names], device=picture.device)[..., None, None]
    shade, colour, tint = ramps[:, 0], ramps[:, 1], ramps[:, 2]
    painted = colour + torch.where(tone < 0, (colour - shade) * tone, (tint - colour) * tone)
    darkest = (0.55 * middle).clamp(max=0.24)
    line = ((darkest - value) / 0.06).clamp(0, 1) * ((0.3 - chroma) / 0.1).clamp(0, 1)
    white = ((value - 0.72) / 0.1).clamp(0, 1) * ((0.2 - chroma) / 0.08).clamp(0, 1) * keep
    painted = painted + (rgb - painted) * torch.maximum(line, white)[:, None]
    return torch.cat([painted * picture[:, 3:], picture[:, 3:]], dim=1)


def _ramp(name: str) -> list[list[float]]:
    """Shade, middle and tint of a colour, each three numbers in [0, 1]."""
    middle = [v / 255 for v in COLOURS[name]]
    if name == "white":
        return [[0.64, 0.66, 0.70], [0.93, 0.93, 0.94], [1.0, 1.0, 1.0]]
    if name == "black":
        return [[0.0, 0.0, 0.01], [0.13, 0.13, 0.145], [0.40, 0.40, 0.43]]
    if name == "gray":
        return [[0.34, 0.35, 0.37], [0.57, 0.58, 0.60], [0.76, 0.77, 0.79]]
    return [[v * 0.55 for v in middle], middle, [v + (1 - v) * 0.42 for v in middle]]


def _pixels(size_px: int, device: torch.device) -> Tensor:
    """Frame coordinates (S, S, 2) of pixel centres."""
    line = (torch.arange(size_px, device=device, dtype=torch.float32) + 0.5) / size_px
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1)


def corners(shape: Shape) -> list[tuple[float, float]]:
    """Corners of a shape in frame coordinates."""
    cos, sin = math.cos(2 * math.pi * shape.turn), math.sin(2 * math.pi * shape.turn)
    place = shape.place
    turned = [(x * cos - y * sin, x * sin + y * cos) for x, y in outline(shape.name, shape.variant)]
    return [(place.x + place.side * x, place.y + place.side * y) for x, y in turned]


LINE_WIDTH = 0.035
"""Width of an outlined figure's line, as a fraction of the frame."""


def _pieces(points: list[tuple[float, float]], closed: bool, device: torch.device) -> Tensor:
    """The sides of a polygon; an open one lacks a fifth of its outline."""
    ring = [*points, points[0]]
    pairs = [(*a, *b) for a, b in pairwise(ring)]
    if closed:
        return torch.tensor(pairs, device=device)
    lengths = [math.hypot(x1 - x0, y1 - y0) for x0, y0, x1, y1 in pairs]
    left, kept = 0.78 * sum(lengths), []
    for (x0, y0, x1, y1), length in zip(pairs, lengths, strict=True):
        share = min(1.0, left / max(length, 1e-9))
        kept.append((x0, y0, x0 + (x1 - x0) * share, y0 + (y1 - y0) * share))
        left -= length
        if left <= 0:
            break
    return torch.tensor(kept, device=device)


def _inside(points: Tensor, sides: Tensor) -> Tensor:
    """Whether points (H, W, 2) lie inside the polygon of `sides` (K, 4): even-odd rule."""
    x, y = points[..., 0, None], points[..., 1, None]
    x0, y0, x1, y1 = sides.unbind(-1)
    crosses = (y0 > y) != (y1 > y)
    at = x0 + (y - y0) * (x1 - x0) / torch.where((y1 - y0).abs() < 1e-9, 1e-9, y1 - y0)
    return (crosses & (x < at)).sum(-1) % 2 == 1


def _draw_shapes(canvas: _Canvas, items: Sequence[tuple[int, _Layer]], sprites: Sprites) -> None:
    size_px, device = canvas.pixels.shape[-1], canvas.pixels.device
    points = _pixels(size_px, device)
    for index, shape in items:
        assert isinstance(shape, Shape)
        corner_list = corners(shape)
        gap = distance(points, _pieces(corner_list, shape.closed, device))
        if shape.filled:
            inside = _inside(points, _pieces(corner_list, True, device))
            cover = (0.5 + torch.where(inside, gap, -gap) * size_px).clamp(0, 1)
        else:
            cover = (0.5 + (LINE_WIDTH / 2 - gap) * size_px).clamp(0, 1)
        rgb = torch.tensor(COLOURS[shape.colour], device=device) / 255
        layer = torch.cat([rgb[:, None, None] * cover, cover[None]])[None]
        canvas.over(torch.tensor([index], device=device), layer)


def _draw_letters(canvas: _Canvas, items: Sequence[tuple[int, _Layer]], sprites: Sprites) -> None:
    size_px, device, count = canvas.pixels.shape[-1], canvas.pixels.device, len(items)
    group = [layer for _, layer in items if isinstance(layer, _Letter)]
    fields = letter_fields().to(device)[torch.tensor([a.index for a in group], device=device)][:, None]
    span = 1 + 2 * FIELD_MARGIN
    theta = torch.tensor(
        [
            [[1 / (a.height * span), 0.0, -(2 * a.x - 1) / (a.height * span)],
             [0.0, 1 / (a.height * span), -(2 * a.y - 1) / (a.height * span)]]
            for a in group
        ],
        device=device,
    )  # fmt: skip
    grid = F.affine_grid(theta, [count, 1, size_px, size_px], align_corners=False)
    # Outside the field the distance is large: sample (1 - d), which "zeros" padding makes 0 there.
    gap = 1 - F.grid_sample(1 - fields, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    heights = torch.tensor([a.height for a in group], device=device)[:, None, None, None]
    halves = torch.tensor([a.half_width for a in group], device=device)[:, None, None, None]
    cover = (0.5 + (halves - gap) * heights * size_px).clamp(0, 1)
    rgb = torch.tensor([COLOURS[a.colour] for a in group], device=device)[..., None, None] / 255
    canvas.over(torch.tensor([i for i, _ in items], device=device), torch.cat([rgb * cover, cover], dim=1))


_Draw = Callable[[_Canvas, Sequence[tuple[int, _Layer]], Sprites], None]
_DRAW: Mapping[type, _Draw] = {_Sprite: _draw_sprites, Shape: _draw_shapes, _Letter: _draw_letters}


def _apply_styles(canvas: Tensor, scenes: Sequence[Scene]) -> None:
    by_style: dict[str, list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        if scene.style is not None:
            by_style[scene.style].append(index)
    for name, members in by_style.items():
        where = torch.tensor(members, device=canvas.device)
        canvas[where] = STYLERS[name](canvas[where], [scenes[k].texture for k in members])


def _apply_backgrounds(canvas: Tensor, scenes: Sequence[Scene]) -> None:
    chosen = [(k, scene.background.rgb) for k, scene in enumerate(scenes) if scene.background is not None]
    if not chosen:
        return
    where = torch.tensor([k for k, _ in chosen], device=canvas.device)
    rgb = torch.tensor([rgb for _, rgb in chosen], device=canvas.device)[..., None, None] / 255
    picture = canvas[where]
    rest = 1 - picture[:, 3:]
    canvas[where] = torch.cat([picture[:, :3] + rgb * rest, picture[:, 3:] + rest], dim=1)


def thing_boxes(thing: Thing, sprites: Sprites) -> list[Box]:
    """Tight boxes of a thing's places in the frame: left, top, right, bottom fractions."""
    left, top, right, bottom = sprites.boxes[sprites.row(thing)]
    width, height = right - left, bottom - top
    scale = 1 / max(width, height)
    return [
        (
            p.x - width * scale * p.side / 2,
            p.y - height * scale * p.side / 2,
            p.x + width * scale * p.side / 2,
            p.y + height * scale * p.side / 2,
        )
        for p in thing.places
    ]
