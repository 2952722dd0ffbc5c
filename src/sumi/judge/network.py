"""The judge: a classifier that shares no weights and no training pictures with the models that it grades.

A plain convolutional network with two resolutions, batch norms and ReLU, and a global maximum of each feature:

    features f = cnn(picture over a ground),  logits_c = w_c . standardised(max over positions of f) + b_c

The maximum does not depend on the size of a thing or on what else is there. w_c . f(position) then shows where concept
c is (class activation maps, Zhou et al. 2016, arXiv 1512.04150), and the features there give its colour.

The judge looks for one thing in the whole picture. It looks for two things on the two sides of a cut through the
middle, vertical or horizontal, whichever is more certain: max p(a | side 1) p(b | side 2) over cuts, a and b. It sees
each picture over a light and a dark ground and averages the answers, because stickers are used on any ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.atomic_file import write_atomic
from sumi.bundles.json_file import read_object, write_json
from sumi.bundles.tensors import TensorFile, serialise
from sumi.errors import SumiError
from sumi.imaging.pixels import over

__all__ = [
    "GROUNDS",
    "SIZE_PX",
    "Judge",
    "JudgeOutput",
    "composite_input",
    "default_judge",
    "halves",
    "judge_pictures",
    "load_judge",
    "save_judge",
]

SIZE_PX = 64
#: The grounds behind a picture, RGB in [0, 1].
GROUNDS = ((1.0, 1.0, 1.0), (0.27, 0.29, 0.32))
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class _Layer(nn.Sequential):
    """A convolution, a batch norm and a ReLU."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class _Residual(_Layer):
    """A layer with a residual connection."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class Judge(nn.Module):
    """A classifier of concepts, colours, styles and counts in pictures (B, 3, 64, 64) in [-1, 1].

    Args:
        names: the concepts.
        colours: the colours that it distinguishes.
        styles: the styles that it distinguishes; the first is "no particular style".
        most: the largest count that it distinguishes.
        channels: width at each resolution, of which the first has 32 / patch positions a side.
        blocks: residual blocks at each resolution.
        features: the width of the last layer.
        patch: the side of the squares that the stem folds into channels.
        people: those of the names that are people.
    """

    def __init__(
        self,
        names: Sequence[str],
        colours: Sequence[str],
        styles: Sequence[str],
        most: int = 6,
        channels: Sequence[int] = (96, 128),
        blocks: Sequence[int] = (3, 1),
        features: int = 256,
        patch: int = 2,
        people: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.names, self.colours, self.styles, self.most = tuple(names), tuple(colours), tuple(styles), most
        self.people = tuple(people)
        self.ids = {name: number for number, name in enumerate(self.names)}
        self.config: dict[str, Any] = {
            "names": list(names), "colours": list(colours), "styles": list(styles), "most": most,
            "channels": list(channels), "blocks": list(blocks), "features": features, "patch": patch,
            "people": list(people),
        }  # fmt: skip
        layers: list[nn.Module] = [nn.PixelUnshuffle(patch), _Layer(3 * patch**2, channels[0], stride=2)]
        for level, width in enumerate(channels):
            if level:
                layers.append(_Layer(channels[level - 1], width, stride=2))
            layers += [_Residual(width, width) for _ in range(blocks[level])]
        self.body = nn.Sequential(*layers, _Layer(channels[-1], features, kernel=1))
        self.standard, self.standard_mean = nn.BatchNorm1d(features), nn.BatchNorm1d(features)
        self.concept = nn.Linear(features, len(self.names))
        self.colour = nn.Linear(features, len(self.colours))
        self.style = nn.Linear(features, len(self.styles))
        self.count = nn.Linear(features, most)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, F, h, w) of pictures (B, 3, 64, 64)."""
        return self.body(x.contiguous(memory_format=torch.channels_last)).float()  # type: ignore[no-any-return]

    def concept_logits(self, features: Tensor) -> Tensor:
        """Return logits (B, N) of the concepts in the whole picture, from features (B, F, h, w)."""
        return self.region_logits(features.amax(dim=(2, 3)))

    def region_logits(self, largest: Tensor) -> Tensor:
        """Return logits (B, N) of the concepts in a region, from the maximum of each feature there (B, F)."""
        return self.concept(self.standard(largest))  # type: ignore[no-any-return]

    def style_and_count_logits(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the style (B, styles) and of the count minus one (B, most), from features (B, F, h, w)."""
        mean = self.standard_mean(features.mean(dim=(2, 3)))
        return self.style(mean), self.count(mean)

    def attention(self, features: Tensor, ids: Tensor) -> Tensor:
        """Return where each of the concepts ids (B, K) is: positive maps (B, K, h, w) that sum to 1."""
        variance: Tensor = self.standard.running_var  # type: ignore[assignment]
        weight = self.concept.weight * self.standard.weight * (variance + self.standard.eps).rsqrt()
        with torch.autocast(features.device.type, enabled=False):
            maps = torch.einsum("bkf,bfp->bkp", weight[ids], features.flatten(2))
        likelier = (maps - maps.mean(dim=-1, keepdim=True)).relu() + 1e-6
        attention: Tensor = (likelier / likelier.sum(dim=-1, keepdim=True)).view(*ids.shape, *features.shape[2:])
        return attention

    def colour_logits(self, features: Tensor, attention: Tensor) -> Tensor:
        """Return logits (B, K, colours) of the colour under each attention map (B, K, h, w)."""
        seen = torch.einsum("bkp,bfp->bkf", attention.flatten(2), features.flatten(2))
        return self.colour(F.layer_norm(seen, seen.shape[-1:]))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class JudgeOutput:
    """The judge's answers about pictures, in each of which it looked for K things, K = 1 or 2.

    Args:
        concepts: log probabilities of the concepts in the whole picture (B, N).
        things: ids of the most likely concepts (B, K).
        shares: their log probabilities (B, K).
        colours: logits of the colour of each concept that was asked about (B, K, colours).
        where: the centre of each, as fractions of the frame, x to the right and y down (B, K, 2).
        style: logits (B, styles).
        count: logits of the count minus one (B, most).
    """

    concepts: Tensor
    things: Tensor
    shares: Tensor
    colours: Tensor
    where: Tensor
    style: Tensor
    count: Tensor

    def best(self, count: int = 5) -> Tensor:
        """Return ids of the most likely concepts of the whole picture, most likely first (B, count)."""
        return self.concepts.topk(min(count, self.concepts.shape[1]), dim=1).indices


def composite_input(pictures: Tensor, ground: Tensor) -> Tensor:
    """Return pictures over a ground, as the judge's network takes them.

    Args:
        pictures: premultiplied RGBA (B, 4, S, S) in [0, 1].
        ground: one colour for each picture or for all, RGB (B or 1, 3) in [0, 1].

    Returns:
        RGB (B, 3, S, S) in [-1, 1].
    """
    return over(pictures, ground[:, :, None, None]).clamp(0, 1) * 2 - 1


@torch.no_grad()
def judge_pictures(judge: Judge, pictures: Tensor, asked: Tensor | None = None, batch: int = 128) -> JudgeOutput:
    """Run the judge on pictures.

    Args:
        judge: the network, frozen.
        pictures: premultiplied uint8 (B, 4, 64, 64).
        asked: ids of the concepts to locate and to find the colour of (B, K), K = 1 or 2; by default the most likely
            one of each picture.
        batch: how many pictures to look at together.
    """
    if pictures.dtype != torch.uint8 or pictures.shape[1:] != (4, SIZE_PX, SIZE_PX):
        shape = tuple(pictures.shape)
        raise ValueError(f"the judge reads uint8 (B, 4, {SIZE_PX}, {SIZE_PX}), not {pictures.dtype} {shape}")
    if asked is not None and asked.shape[1] not in (1, 2):
        raise ValueError(f"the judge looks for one or two things, not {asked.shape[1]}")
    parts = []
    for start in range(0, len(pictures), batch):
        some = slice(start, start + batch)
        parts.append(_read(judge, pictures[some].float() / 255, None if asked is None else asked[some]))
    return JudgeOutput(
        *(torch.cat([getattr(part, name) for part in parts]) for name in JudgeOutput.__dataclass_fields__)
    )


def _read(judge: Judge, pictures: Tensor, asked: Tensor | None) -> JudgeOutput:
    views = [judge(composite_input(pictures, torch.tensor([ground]))) for ground in GROUNDS]
    concepts = _mean([judge.concept_logits(view).log_softmax(dim=-1) for view in views])
    if asked is None or asked.shape[1] == 1:
        shares, things = concepts.max(dim=1, keepdim=True)
        regions = torch.ones(len(pictures), 1, *views[0].shape[2:])
    else:
        shares, things, regions = _find_pair(judge, views, asked)
    ids = things if asked is None else asked
    attention = _mean([judge.attention(view, ids) for view in views]) * regions
    attention = attention / attention.sum(dim=(2, 3), keepdim=True)
    colours = _mean([judge.colour_logits(view, attention) for view in views])
    style, count = (_mean(list(logits)) for logits in zip(*map(judge.style_and_count_logits, views), strict=True))
    return JudgeOutput(concepts, things, shares, colours, _centres(attention), style, count)


def halves(height: int, width: int) -> Tensor:
    """Return masks of the sides of a vertical and of a horizontal cut: (2 cuts, 2 sides, height, width) of 0 and 1."""
    left, top = torch.zeros(height, width), torch.zeros(height, width)
    left[:, : width // 2], top[: height // 2] = 1, 1
    return torch.stack([torch.stack([left, 1 - left]), torch.stack([top, 1 - top])])


def _find_pair(judge: Judge, views: Sequence[Tensor], asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log probabilities and ids of two things by the better cut (B, 2), and the side of each (B, 2, h, w)."""
    sides = halves(*views[0].shape[2:])
    rows = torch.arange(len(asked))

    def named(view: Tensor) -> Tensor:
        largest = [(view * side).amax(dim=(2, 3)) for side in sides.flatten(0, 1)]
        return torch.stack([judge.region_logits(each).log_softmax(dim=-1) for each in largest], dim=1)

    said = _mean([named(view) for view in views]).view(len(asked), 2, 2, -1)
    shares, things = said.max(dim=-1)
    twice = things[:, :, 0] == things[:, :, 1]
    cut = (shares.sum(dim=-1) - 1e3 * twice).argmax(dim=1)
    here = said[rows, cut].gather(2, asked[:, None, :].expand(-1, 2, -1))
    order = here[:, 0, 0] + here[:, 1, 1] >= here[:, 0, 1] + here[:, 1, 0]
    mine = torch.where(order[:, None], torch.tensor([0, 1]), torch.tensor([1, 0]))
    return shares[rows, cut], things[rows, cut], sides[cut[:, None], mine]


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(dim=0)


def _centres(attention: Tensor) -> Tensor:
    height, width = attention.shape[2:]
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    return torch.stack([(attention.sum(dim=2) * x).sum(dim=-1), (attention.sum(dim=3) * y).sum(dim=-1)], dim=-1)


def default_judge() -> Path:
    """Return the folder of the judge that comes with the package."""
    return Path(__file__).resolve().parent.parent / "models" / "judge"


def save_judge(folder: str | Path, judge: Judge) -> Path:
    """Write config.json and model.safetensors (bfloat16) into a folder, and return it."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, judge.config)
        write_atomic(folder / WEIGHTS, serialise(judge))
    except OSError as error:
        raise SumiError(f"cannot write the judge into {folder}: {error.strerror or error}") from None
    return folder


def load_judge(folder: str | Path | None = None) -> Judge:
    """Load a judge, frozen, in evaluation mode.

    Args:
        folder: of the judge; by default of the one that comes with Sumi.

    Raises:
        SumiError: when there is no judge, or for every missing, unused or misshapen tensor.
    """
    root = default_judge() if folder is None else Path(folder)
    if not (root / CONFIG).is_file():
        raise SumiError(f"there is no judge in {str(root)!r}: train one with `sumi exam train-judge`")
    config, file = read_object(root / CONFIG), TensorFile(root / WEIGHTS)
    try:
        judge = Judge(**config)
    except (TypeError, ValueError, IndexError, RuntimeError, ZeroDivisionError) as error:
        raise SumiError(f"{root / CONFIG} does not describe a judge: {error}") from None
    wanted = judge.state_dict()
    faults = [f"missing {name}" for name in sorted(wanted.keys() - file.entries.keys())]
    faults += [f"unused {name}" for name in sorted(file.entries.keys() - wanted.keys())]
    faults += [
        f"misshapen {name}"
        for name in sorted(wanted.keys() & file.entries.keys())
        if file.entries[name].shape != tuple(wanted[name].shape)
    ]
    if faults:
        raise SumiError(f"{root / WEIGHTS} does not fit {CONFIG}: {', '.join(faults)}")
    judge.load_state_dict({name: file.tensor(name) for name in wanted})
    return judge.eval().requires_grad_(False)
