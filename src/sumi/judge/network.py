"""The judge: a recogniser that no product network ever saw, so that an exam is not marked by its own pupil.

A plain convolutional network, two resolutions, batch norms and ReLU, then the largest value of each feature:

    features f = cnn(picture over a ground),  logits_c = w_c . standardised(max over positions of f) + b_c

A maximum forgets how large a thing is and what else is there, which is what finding things takes. w_c . f(position)
then says where concept c is (Zhou et al. 2016, arXiv 1512.04150), and the features there say in which colour.

One thing is looked for in the whole picture. Two are looked for on the two sides of a cut through its middle, upright
or level, whichever makes the judge surer: maximum(p(a | side 1) p(b | side 2)) over cuts, a and b. A picture is shown
over two grounds and the answers averaged, for a person sees stickers on any ground.
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

SIZE_PX = 64
#: Grounds that a picture is shown on, straight RGB in [0, 1].
GROUNDS = ((1.0, 1.0, 1.0), (0.27, 0.29, 0.32))
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class _Layer(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(self, channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class _Residual(_Layer):
    """A layer added to what it was given."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class Judge(nn.Module):
    """Says which of `names` a picture (B, 3, 64, 64) in [-1, 1] shows, where, and in which of `colours`.

    people: those of the names that are roles, with tones and genders. styles: what it may be drawn in, the first
    being none in particular. most: the largest count it knows.
    channels, blocks: one entry a resolution, the first 32/patch positions a side; the stem looks at squares that
    overlap.
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
        """Features (B, F, h, w) of pictures."""
        return self.body(x.contiguous(memory_format=torch.channels_last)).float()  # type: ignore[no-any-return]

    def concepts(self, features: Tensor) -> Tensor:
        """Logits (B, N): their softmax is shared equally among the things shown."""
        return self.named(features.amax(dim=(2, 3)))

    def named(self, largest: Tensor) -> Tensor:
        """Logits (B, N) of the largest value of each feature anywhere, or in some region (B, F)."""
        return self.concept(self.standard(largest))  # type: ignore[no-any-return]

    def manner(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the style (B, styles) and of the count, less one, of the one kind of thing shown (B, most)."""
        mean = self.standard_mean(features.mean(dim=(2, 3)))
        return self.style(mean), self.count(mean)

    def attention(self, features: Tensor, ids: Tensor) -> Tensor:
        """Where each of the concepts ids (B, K) is seen: (B, K, h, w), positive where it is likelier, summing to 1."""
        variance: Tensor = self.standard.running_var  # type: ignore[assignment]
        weight = self.concept.weight * self.standard.weight * (variance + self.standard.eps).rsqrt()
        with torch.autocast(features.device.type, enabled=False):
            maps = torch.einsum("bkf,bfp->bkp", weight[ids], features.flatten(2))
        likelier = (maps - maps.mean(dim=-1, keepdim=True)).relu() + 1e-6
        attention: Tensor = (likelier / likelier.sum(dim=-1, keepdim=True)).view(*ids.shape, *features.shape[2:])
        return attention

    def colour_at(self, features: Tensor, attention: Tensor) -> Tensor:
        """Logits (B, K, colours) of what lies where the attention (B, K, h, w) is."""
        seen = torch.einsum("bkp,bfp->bkf", attention.flatten(2), features.flatten(2))
        return self.colour(F.layer_norm(seen, seen.shape[-1:]))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class JudgeOutput:
    """What the judge makes of pictures, looking for K things in each (1 or 2).

    concepts: log probabilities of the whole picture (B, N). things: ids of what it takes the K to be (B, K), with
    log probabilities shares (B, K). Of the K that it was asked about: colours, logits (B, K, colours), and where,
    centres as fractions of the frame, x to the right and y down (B, K, 2). style (B, styles), count less one
    (B, most): logits.
    """

    concepts: Tensor
    things: Tensor
    shares: Tensor
    colours: Tensor
    where: Tensor
    style: Tensor
    count: Tensor

    def best(self, count: int = 5) -> Tensor:
        """Ids of the likeliest concepts of the whole picture, likeliest first (B, count)."""
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
    """Look at premultiplied uint8 pictures (B, 4, 64, 64), asked about concepts `asked` (B, K), K = 1 or 2.

    None asks for the likeliest one.
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
    concepts = _mean([judge.concepts(view).log_softmax(dim=-1) for view in views])
    if asked is None or asked.shape[1] == 1:
        shares, things = concepts.max(dim=1, keepdim=True)
        regions = torch.ones(len(pictures), 1, *views[0].shape[2:])
    else:
        shares, things, regions = _apart(judge, views, asked)
    ids = things if asked is None else asked
    attention = _mean([judge.attention(view, ids) for view in views]) * regions
    attention = attention / attention.sum(dim=(2, 3), keepdim=True)
    colours = _mean([judge.colour_at(view, attention) for view in views])
    style, count = (_mean(list(logits)) for logits in zip(*map(judge.manner, views), strict=True))
    return JudgeOutput(concepts, things, shares, colours, _centres(attention), style, count)


def halves(height: int, width: int) -> Tensor:
    """The sides of an upright and of a level cut through the middle: (2 cuts, 2 sides, height, width) of 0 and 1."""
    left, top = torch.zeros(height, width), torch.zeros(height, width)
    left[:, : width // 2], top[: height // 2] = 1, 1
    return torch.stack([torch.stack([left, 1 - left]), torch.stack([top, 1 - top])])


def _apart(judge: Judge, views: Sequence[Tensor], asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two things by the surer cut: log probabilities and ids (B, 2), and the side of each thing asked (B, 2, h, w)."""
    sides = halves(*views[0].shape[2:])
    rows = torch.arange(len(asked))

    def named(view: Tensor) -> Tensor:
        largest = [(view * side).amax(dim=(2, 3)) for side in sides.flatten(0, 1)]
        return torch.stack([judge.named(each).log_softmax(dim=-1) for each in largest], dim=1)

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
    """Write config.json and model.safetensors (bfloat16), as a part of a bundle is."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG, judge.config)
        write_atomic(folder / WEIGHTS, serialise(judge))
    except OSError as error:
        raise SumiError(f"cannot write the judge into {folder}: {error.strerror or error}") from None
    return folder


def load_judge(folder: str | Path | None = None) -> Judge:
    """Return a judge, frozen; SumiError names every missing, unused or misshapen tensor."""
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
