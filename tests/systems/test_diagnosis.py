"""What `sumi doctor` says of a model of Sumi's own, and where it finds what is not finite."""

from __future__ import annotations

import torch
from torch import nn

from sumi.bundles import Bundle
from sumi.systems.diagnosis import StageWatch, diagnose, first_not_finite
from sumi.systems.unclip import assemble


def test_diagnose_finds_a_bundle_healthy_and_counts_the_steps_of_its_stages(tiny_bundle: Bundle) -> None:
    looked: list[tuple[str, int, int]] = []
    found = diagnose(tiny_bundle.folder, lambda: assemble(tiny_bundle), lambda *step: looked.append(step))
    assert found.healthy and found.first_not_finite is None
    assert {part.name for part in found.parts} == set(tiny_bundle.parts)
    assert all(part.parameters > 0 and part.size_bytes > 0 for part in found.parts)
    assert {"prior", "decoder"} <= {stage.name for stage in found.stages} and found.stages[-1].name == "picture"
    assert looked[-1] == ("weights", len(found.parts), len(found.parts))
    assert found.to_json()["healthy"] and found.picture.image.size[0] == min(assemble(tiny_bundle).sizes)


def test_first_not_finite_names_the_first_module_alone() -> None:
    networks: dict[str, nn.Module] = {"unet": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())}
    with torch.no_grad():
        networks["unet"][1].weight[0, 0] = float("inf")  # type: ignore[index]
    watch = StageWatch()
    with first_not_finite(networks, watch) as found:
        networks["unet"](torch.ones(1, 2))
    assert found == ["unet.1, before the first step"]
    with first_not_finite(networks, watch) as found:
        networks["unet"][0](torch.ones(1, 2))  # type: ignore[index]
    assert found == []
