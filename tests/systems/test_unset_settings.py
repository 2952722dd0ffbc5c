"""A system refuses each setting that it cannot change, and takes those that ask for nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sumi.errors import SumiError
from sumi.pipelines import Request
from sumi.systems import SYSTEMS
from sumi.systems.artist import SystemArtist

ARTIST = SystemArtist(SimpleNamespace(name="x", settings={"size_px": 8}), SYSTEMS["ddpm"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("guidance", 0.0), ("guidance", 2.0), ("balance", True), ("best_of", 2), ("negative", "a dog")]
)
def test_a_setting_of_other_models_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SumiError, match=f"a ddpm model has no {name.replace('_', '-')} to set"):
        ARTIST.sample_request(Request("anything", **{name: value}))


@pytest.mark.parametrize("settings", [{}, {"guidance": 1.0}, {"negative": ""}, {"balance": False}])
def test_what_asks_for_nothing_is_taken(settings: dict[str, Any]) -> None:
    assert ARTIST.sample_request(Request("anything", **settings)).size_px == 8
