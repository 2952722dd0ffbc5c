"""The page without a browser: what of Gradio is exposed, its policy, its offers, and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
import live_server
import pytest
from PIL import Image, ImageDraw

from sumi import Sumi
from sumi.conditioning import Lexicon
from sumi.data.grammar import STYLE_PHRASES
from sumi.studio import PAGES, STATIC, add_studio
from sumi.studio.offers import STYLES, make_offers
from sumi.studio.svg import trace_svg


@pytest.fixture(scope="module")
def nobody(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client without a key, at a server that needs one."""
    folder = tmp_path_factory.mktemp("shell")
    with live_server.serving(tiny, folder, furnish=add_studio, public_paths=PAGES) as live, live.client(None) as http:
        yield http


def test_page_has_a_strict_content_security_policy(nobody: httpx.Client) -> None:
    page = nobody.get("/studio/")
    policy = page.headers["content-security-policy"]
    script = re.findall(r"script-src ([^;]*)", policy)[0].split()
    assert page.status_code == 200 and policy.startswith("default-src 'none'")
    assert script[0] == "'self'" and len(script) > 1 and all(source.startswith("'sha256-") for source in script[1:])
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["x-frame-options"] == "DENY"
    assert not re.findall(r"(?:src|href|content)=\"https?://", page.text)


def test_gradios_other_routes_are_404(nobody: httpx.Client) -> None:
    for path in (
        "config",
        "gradio_api/info",
        "gradio_api/file=setup.py",
        "gradio_api/heartbeat/a",
        "monitoring",
        "login",
    ):
        assert nobody.get(f"/studio/{path}").status_code == 404, path
    for path in ("gradio_api/upload", "gradio_api/queue/join", "gradio_api/run/predict", "assets/a.js", ""):
        assert nobody.post(f"/studio/{path}").status_code in (401, 404), path


def test_page_needs_no_key_and_its_data_does(nobody: httpx.Client) -> None:
    assert nobody.get("/").headers["location"] == nobody.get("/studio").headers["location"] == "/studio/"
    assert nobody.get("/studio/own/studio.js").status_code == nobody.get("/studio/theme.css").status_code == 200
    for path in ("/v1/gallery", "/v1/jobs", "/v1/gallery/x/svg", "/v1/gallery/x/steps", "/studiox"):
        assert nobody.get(path).status_code == 401, path


def test_studio_routes_refuse_other_origins(nobody: httpx.Client) -> None:
    assert nobody.get("/studio/", headers={"Host": "example.org"}).status_code == 403
    assert nobody.get("/studio/", headers={"Origin": "http://example.org"}).status_code == 403


def test_svg_keeps_colours_and_transparency() -> None:
    image = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(image).ellipse((8, 8, 40, 40), fill=(200, 30, 30, 255))
    svg = trace_svg(image)
    assert 'viewBox="0 0 512 512" width="64" height="64"' in svg
    (fill,) = set(re.findall(r'fill="#(\w+)"', svg))  # nothing is drawn where nothing was
    assert all(abs(one - other) <= 4 for one, other in zip(bytes.fromhex(fill), (200, 30, 30), strict=True))


def test_svg_of_an_empty_picture_has_no_paths() -> None:
    assert "<path" not in trace_svg(Image.new("RGBA", (16, 16)))


def test_static_files_are_short_and_name_no_foreign_address() -> None:
    for path in sorted(STATIC.iterdir()):
        text = path.read_text("utf-8")
        assert text.count("\n") <= 400, path
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, path


def test_styles_of_the_menu_were_taught() -> None:
    taught = {phrase.replace("{0}", "{}") for phrases in STYLE_PHRASES.values() for phrase in phrases}
    assert len(STYLES) == 6 and set(STYLES.values()) <= taught
    assert all(style in phrase for style, phrase in STYLES.items()), "the menu would add a style that is there already"


def test_offers_hold_only_what_the_model_draws_as_written(tiny: Sumi) -> None:
    lexicon = Lexicon.of_words(("a", "fox", "neon", "red"))
    offers = make_offers(replace(tiny, lexicon=lexicon))
    assert offers.examples == ["a red fox"]
    assert offers.styles == {"neon": STYLES["neon"]}
    assert offers.bounds["n"] == (1, 64) and offers.bounds["guidance"] == (0.0, 30.0)
