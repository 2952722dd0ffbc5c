"""Whatever bytes or text arrive, a parser of ours answers or raises one line; nothing else escapes.

A few hundred examples run each time. `SUMI_FUZZ_EXAMPLES=1000000 pytest -m nightly tests/test_fuzz.py` runs for long.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sumi import SumiError
from sumi.imaging.image_file import read_image
from sumi.pipelines.checks import parse_background
from sumi.pipelines.recipe import Recipe, recipe_in, write_png
from sumi.store.search_index import fold_words
from sumi.trust.certificate import load_certificate
from sumi.trust.credentials import Credentials, find_media_type, read_manifest, sign_file
from sumi.trust.fingerprint import make_fingerprint
from sumi.trust.policy import load_policy, read_policy
from sumi.trust.verify import check_provenance

LONG = int(os.environ.get("SUMI_FUZZ_EXAMPLES", "20000"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
FIELDS = (
    "prompt",
    "negative",
    "background",
    "model",
    "version",
    "seed",
    "size",
    "stages",
    "hashes",
    "options",
    "sources",
)


def make_png() -> bytes:
    file = io.BytesIO()
    recipe = Recipe(prompt="a fox", seed=1, size=8, stages={}, model="tiny", version="1")
    write_png(file, Image.new("RGBA", (8, 8), (200, 90, 30, 255)), recipe)
    return file.getvalue()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    certificate = load_certificate(tmp_path_factory.mktemp("signing"))
    assert certificate is not None
    return sign_file(make_png(), "image/png", Credentials("a", "1", "tiny", "", ""), certificate)


def damage(data: bytes, cuts: list[tuple[int, bytes]]) -> bytes:
    """Return bytes of which some are replaced; each cut is a place and what stands there instead."""
    damaged = bytearray(data)
    for place, piece in cuts:
        start = place % (len(damaged) + 1)
        damaged[start : start + len(piece)] = piece
    return bytes(damaged)


CUTS = st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=6)), max_size=6)


def may_refuse(call: Callable[[], Any]) -> Any:
    """Call a parser; a SumiError of one line counts as an answer."""
    try:
        return call()
    except SumiError as error:
        assert "\n" not in str(error) and str(error)
        return None


def check_picture(data: bytes) -> None:
    image = may_refuse(lambda: read_image(io.BytesIO(data), "a picture"))
    assert find_media_type(data) in (None, "image/png", "image/jpeg", "image/gif", "image/webp")
    assert read_manifest(data).state in ("valid", "trusted", "invalid", "absent")
    if image is not None:
        may_refuse(lambda: recipe_in(image, "a picture"))
        assert check_provenance(data, image).to_json()["c2pa"]
        assert len(make_fingerprint(image)) == 32


def check_recipe(values: Any) -> None:
    may_refuse(lambda: Recipe.from_json(values))


def check_words(text: str) -> None:
    assert load_policy().check_text(text).action in ("allow", "review", "block")
    fold_words(text)
    may_refuse(lambda: parse_background(text))


def check_policy(text: str, folder: Path) -> None:
    path = folder / "policy.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    may_refuse(lambda: read_policy(path))


RECIPES = JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))
POLICIES = st.text(max_size=60) | RECIPES.map(lambda values: json.dumps(values)) | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("lists", "rules", "concepts", "fuzzy", "harmless", "version"), JSON)
).map(json.dumps)  # fmt: skip
QUICK = settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
NIGHTLY = settings(max_examples=LONG, suppress_health_check=list(HealthCheck), database=None)


def run(level: settings, signed: bytes, folder: Path) -> None:
    level(given(CUTS)(lambda cuts: check_picture(damage(signed, cuts))))()
    level(given(st.binary(max_size=200))(check_picture))()
    level(given(RECIPES)(check_recipe))()
    level(given(st.text(max_size=80))(check_words))()
    level(given(POLICIES)(lambda text: check_policy(text, folder)))()


def test_parsers_answer_or_raise_one_line(signed: bytes, tmp_path: Path) -> None:
    run(QUICK, signed, tmp_path)


@pytest.mark.nightly
def test_parsers_answer_or_raise_one_line_for_long(signed: bytes, tmp_path: Path) -> None:
    run(NIGHTLY, signed, tmp_path)
