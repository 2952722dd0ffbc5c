"""Every system of the lineage draws the same, whatever the host program has set in torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sumi.bundles import Bundle, save_bundle
from sumi.pipelines import Picture, Request
from sumi.systems import SYSTEMS, Examples
from sumi.systems.artist import system_artist

FILES = {"gan", "sohl_dickstein", "score_sde", "ddpm", "edm", "flow_matching", "guidance"}
NAMES = [name for name, row in SYSTEMS.items() if row.home.partition(":")[0] in FILES]
CLASSES = ["cat", "dog", "fox"]


@contextmanager
def host(dtype: torch.dtype) -> Iterator[None]:
    """A program that has set everything at once."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"), torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(params=NAMES)
def bundle(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """An untrained model of a system, awake everywhere: what starts at zero hides what it is connected to."""
    row = SYSTEMS[request.param]
    method: Any = row.method()
    if request.param == "ncsn":
        method = replace(method, sampler=replace(method.sampler, num_rounds=2))
    pictures = torch.randint(0, 255, (6, 4, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    examples = Examples(pictures, labels=torch.arange(6) % 3, num_labels=3)
    parts: dict[str, nn.Module] = {}
    if hasattr(method, "num_couples"):
        method = replace(method, num_couples=4)
    for stage in method.stages:
        torch.manual_seed(0)
        parts[stage] = method.objective(stage, examples, parts).model.eval()
        for weight in parts[stage].parameters():
            if weight.count_nonzero() == 0:
                nn.init.normal_(weight.data, std=0.05)
    monkeypatch.setattr(type(row), "method", lambda self: method)
    settings = {"size_px": 8, "classes": CLASSES}
    save_bundle(tmp_path / "model", system=row.name, parts=parts, settings=settings)
    return Bundle.load(tmp_path / "model")


def test_a_system_draws_the_same_whatever_the_host_has_set(bundle: Bundle) -> None:
    steps = None if bundle.system == "gan" else 2
    task = Request("fox", n=2, seed=7, steps=steps)
    wanted = [
        event.image.tobytes()
        for event in system_artist(bundle, SYSTEMS[bundle.system]).stream(task)
        if isinstance(event, Picture)
    ]
    for dtype in (torch.float64, torch.bfloat16):
        with host(dtype):
            artist = system_artist(Bundle.load(bundle.folder), SYSTEMS[bundle.system])
            found = [event.image.tobytes() for event in artist.stream(task) if isinstance(event, Picture)]
            assert torch.is_inference_mode_enabled() and torch.is_autocast_enabled("cpu")
        assert found == wanted and len(wanted) == 2
