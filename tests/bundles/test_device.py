"""Networks on a device and all else on the CPU, shown with torch's `meta`: whatever mixes it with the CPU fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from far_device import META
from PIL import Image
from torch import Tensor, nn

import sumi
from sumi import SumiError
from sumi.bundles import Bundle, device, save_bundle
from sumi.bundles.device import keep_on, moved, usable_device
from sumi.nn import Cond
from sumi.systems.unclip import assemble
from sumi.systems.unclip.artist import Sumi


def test_every_verb_leaves_only_the_networks_on_the_device(tiny_bundle: Bundle, far: list[str]) -> None:
    opened = replace(Bundle.load(tiny_bundle.folder), device=META)
    artist = assemble(opened)
    image, mask = Image.new("RGB", (16, 16), "red"), np.ones((16, 16), bool)
    drawn = artist.generate("a red fox", n=2, seed=7, best_of=3)
    assert len(drawn) == 2 and drawn[0].image.size == (32, 32)
    assert artist.vary(image, seed=7, eta=0.5) and artist.edit(image, "a fox", mask, seed=7)
    assert artist.blend(image, image, frames=2, seed=7) and artist.restyle(image, "a fox", "a dog", seed=7)
    assert artist.explore(image, dims=2, seed=7) and artist.img2img(image, "a fox", seed=7)
    assert artist.upscale(image, seed=7) and artist.classify(image, "fox,dog") and artist.rank(image, "a fox")
    assert "there" in far and "back" in far
    assert {weight.device for part in ("decoder", "clip") for weight in opened.part(part).parameters()} == {META}


def test_the_model_that_comes_with_sumi_draws_with_its_networks_on_a_device(
    far: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "usable_device", lambda name: META)
    artist = sumi.load(device="meta")
    assert artist.generate("a red fox", seed=7, steps=1)[0].image.size == (256, 256)
    assert artist.edit(Image.new("RGB", (64, 64)), "a fox", np.ones((64, 64), bool), seed=7, steps=1, rounds=1)
    assert "there" in far and "back" in far


class Pair(NamedTuple):
    one: Tensor
    other: Tensor | None


def test_nested_tensors_are_moved_and_the_rest_is_left(far: list[str]) -> None:
    x = torch.zeros(2)
    there = moved({"a": [x, (x, 1)], "b": Pair(x, None), "c": Cond(vector=x), "d": "text"}, META)
    assert there["a"][0].is_meta and there["a"][1][0].is_meta and there["a"][1][1] == 1
    assert isinstance(there["b"], Pair) and there["b"].one.is_meta and there["b"].other is None
    assert there["c"].vector.is_meta and there["c"].tokens is None and there["d"] == "text"


def test_a_method_that_calls_another_stays_on_the_device(far: list[str]) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def once(self, x: Tensor) -> Tensor:
            return self.layer(x)  # type: ignore[no-any-return]

        def forward(self, x: Tensor) -> Tensor:
            inner = self.once(x)
            assert inner.is_meta
            return self.once(inner)

    part = keep_on(Twice(), META)
    assert not part(torch.zeros(1, 2)).is_meta and not part.once(torch.zeros(1, 2)).is_meta
    assert far == ["there", "back", "there", "back"]


@pytest.mark.parametrize("name", ["meta", "cuda:99", "warp", "", 7.5, object()])
def test_a_device_that_is_not_there_is_one_line(name: Any, tiny_folder: Path) -> None:
    with pytest.raises(SumiError) as caught:
        sumi.load(tiny_folder, device=name)
    assert "cpu" in str(caught.value) and "\n" not in str(caught.value)


def test_a_system_of_the_lineage_draws_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_bundle(tmp_path / "edm", system="edm", parts={})
    monkeypatch.setattr(device, "usable_device", lambda name: META)
    with pytest.raises(SumiError, match="draws on the CPU"):
        sumi.load(tmp_path / "edm", device="meta")


@pytest.mark.parametrize("name", [None, "cpu", "cpu:0", torch.device("cpu")])
def test_the_cpu_is_where_networks_are_unless_another_device_is_named(name: Any, tiny_folder: Path, tiny: Sumi) -> None:
    assert usable_device(name).type == "cpu"
    drawn = sumi.load(tiny_folder, device=name).generate("a fox", seed=7)[0]
    assert drawn.image.tobytes() == tiny.generate("a fox", seed=7)[0].image.tobytes()
