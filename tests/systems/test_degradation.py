"""What an upsampler is shown in place of a small picture, where a test decides what chance says."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion import Estimate, FlowSchedule
from sumi.nn import Cond
from sumi.systems.unclip import degradation
from sumi.systems.unclip.degradation import (
    DecoderDegradation,
    DecoderEstimate,
    blurred,
    bsr_degradation,
    sometimes_blurred,
)

RNG = torch.Generator()


def ramp(count: int = 2) -> Tensor:
    """Pictures with something to blur, (count, 4, 8, 8) in [-1, 1]."""
    return torch.sin(torch.arange(count * 256).float() * 1.7).view(count, 4, 8, 8)


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What every draw is: `uniform` in [0, 1) and `normal`."""
    said = SimpleNamespace(uniform=0.5, normal=1.0)

    def shape_of(*shape: Any) -> tuple[int, ...]:
        return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape

    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape_of(*shape), said.uniform))
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.full(shape_of(*shape), said.normal))
    return said


def bell(width: float, reach: int) -> list[float]:
    taps = [math.exp(-0.5 * (k / width) ** 2) for k in range(-reach, reach + 1)]
    return [tap / sum(taps) for tap in taps]


@pytest.mark.parametrize(("sigma", "reach"), [((0.6, 0.6), 1), ((0.5, 1.2), 2), ((2.0, 0.3), 4)])
def test_blur_of_a_point_is_the_product_of_two_bells(sigma: tuple[float, float], reach: int) -> None:
    point = torch.zeros(1, 2, 15, 15)
    point[0, 1, 7, 7] = 1.0
    expected = torch.zeros(15, 15)
    window = slice(7 - reach, 8 + reach)
    expected[window, window] = torch.outer(torch.tensor(bell(sigma[0], reach)), torch.tensor(bell(sigma[1], reach)))
    soft = blurred(point, sigma)
    torch.testing.assert_close(soft[0, 1], expected, atol=1e-6, rtol=1e-4)
    assert soft[0, 0].eq(0).all(), "each channel by itself"


@pytest.mark.parametrize(("uniform", "soft"), [(0.49, True), (0.5, False)])
def test_half_of_the_pictures_are_blurred(chance: SimpleNamespace, uniform: float, soft: bool) -> None:
    chance.uniform = uniform
    torch.testing.assert_close(sometimes_blurred(ramp(), RNG), blurred(ramp()) if soft else ramp())


def test_bsr_blurs_resizes_and_adds_noise_each_once_in_an_order_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = set()
    for seed in range(12):
        order: list[str] = []
        for name in ("_smeared", "_resized", "_noisy"):
            monkeypatch.setattr(degradation, name, lambda x, rng, name=name, order=order: order.append(name) or x)
        bsr_degradation(ramp(), torch.Generator().manual_seed(seed))
        assert sorted(order) == ["_noisy", "_resized", "_smeared"]
        orders.add(tuple(order))
    assert len(orders) > 3


@pytest.mark.parametrize(("uniform", "sigma"), [(0.0, 0.2), (0.5, 0.7), (1.0, 1.2)])
def test_bsr_blur_is_between_a_fifth_and_six_fifths_of_a_pixel_wide(
    chance: SimpleNamespace, uniform: float, sigma: float
) -> None:
    chance.uniform = uniform
    torch.testing.assert_close(degradation._smeared(ramp(), RNG), blurred(ramp(), (sigma, sigma)))


@pytest.mark.parametrize(("uniform", "side", "mode"), [(0.0, 4, "area"), (0.5, 6, "bilinear"), (0.99, 8, "bicubic")])
def test_bsr_resizing_goes_down_to_a_half_at_most_and_back_by_the_same_or_another_method(
    chance: SimpleNamespace, uniform: float, side: int, mode: str
) -> None:
    chance.uniform = uniform
    expected = F.interpolate(F.interpolate(ramp(), size=(side, side), mode=mode), size=(8, 8), mode=mode)
    torch.testing.assert_close(degradation._resized(ramp(), RNG), expected)


def test_bsr_noise_is_up_to_a_tenth(chance: SimpleNamespace) -> None:
    chance.uniform = 1.0
    torch.testing.assert_close(degradation._noisy(ramp(), RNG), ramp() + 0.1)


class Doubling:
    """A codec whose latents are twice the picture, and whose decoder forgets the sign."""

    def encode(self, x: Tensor) -> Tensor:
        return 2 * x

    def decode(self, z: Tensor) -> Tensor:
        return (z / 2).abs()


@pytest.mark.parametrize(
    ("uniform", "kind"),
    [(0.24, "sharp"), (0.25, "blurred"), (0.34, "blurred"), (0.35, "coded"), (0.64, "coded"), (0.65, "redrawn")],
)
def test_decoder_degradation_divides_the_pictures_by_what_happens_to_them(
    chance: SimpleNamespace, uniform: float, kind: str
) -> None:
    chance.uniform = uniform
    x = ramp()
    shown = {
        "sharp": x,
        "blurred": blurred(x),
        "coded": ((2 * x + 0.4 * uniform) / 2).abs(),  # latents moved by their noise
        "redrawn": (2 * x + 7 + x).abs() / 2,
    }[kind]
    degrade = DecoderDegradation(Doubling(), lambda z, small, rng: z + 7 + small)  # type: ignore[arg-type]
    torch.testing.assert_close(degrade(x, RNG), shown + 0.03 * uniform)


def test_decoder_degradation_without_a_decoder_moves_all_latents_by_noise(chance: SimpleNamespace) -> None:
    chance.uniform = 0.9
    degrade = DecoderDegradation(Doubling(), noise=0.2)  # type: ignore[arg-type]
    torch.testing.assert_close(degrade(ramp(), RNG), ((2 * ramp() + 0.2 * 0.9) / 2).abs() + 0.03 * 0.9)


def test_decoder_estimate_is_of_latents_noised_to_half_of_the_time_at_most_and_told_what_clip_sees(
    chance: SimpleNamespace,
) -> None:
    chance.uniform = 0.8
    asked: list[tuple[Tensor, Tensor, Cond]] = []

    def denoise(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        asked.append((x_t, t, cond))
        return Estimate(-x_t)

    seen = torch.arange(6.0).view(2, 3)
    clip = SimpleNamespace(encode_image=lambda picture: seen, text=SimpleNamespace(config={"context": 5, "width": 7}))
    z = torch.randn(2, 3, 4, 4)
    found = DecoderEstimate(denoise, FlowSchedule(), clip)(z, ramp(), RNG)  # type: ignore[arg-type]
    ((x_t, t, cond),) = asked
    torch.testing.assert_close(t, torch.full((2,), 0.4))
    torch.testing.assert_close(x_t, 0.6 * z + 0.4 * torch.ones_like(z))
    torch.testing.assert_close(found, -x_t)
    torch.testing.assert_close(cond.vector, torch.cat([seen, torch.zeros(2, 3)], dim=1))
    assert cond.tokens is not None and cond.tokens.shape == (2, 5, 7) and cond.tokens.eq(0).all()
