"""A colour-emoji font as artwork: the fallback where no icon package can be fetched.

Idea: such a font (CBDT) holds one bitmap of 136x128 px for each emoji. Each is wrapped, unchanged, in an SVG
that shows it, so that a bitmap passes through the same doors as a drawing: rendered, cropped, recorded.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from sumi.data.artwork import SVG_HEAD, Artwork, square
from sumi.data.rights import Rights
from sumi.data.words import slug
from sumi.errors import SumiError

STRIKE_PX = 109
"""The one size at which CBDT emoji fonts hold bitmaps."""

_CANVAS = (136, 128)


def load_font(path: str | Path) -> list[Artwork]:
    """Every emoji that the font at `path` can draw, as artwork by the hand "font", sorted by name.

    Raises SumiError when the file is no colour-bitmap font, or when the `emoji` package, which names the
    emoji, is missing.
    """
    try:
        font = ImageFont.truetype(str(path), size=STRIKE_PX)
    except OSError as error:
        raise SumiError(f"{path} is not a colour-emoji font with {STRIKE_PX} px bitmaps: {error}") from error
    try:
        import emoji
    except ImportError as error:
        raise SumiError('naming the drawings of a font needs emoji: pip install -e ".[train]"') from error
    named = {slug(str(data["en"])): text for text, data in sorted(emoji.EMOJI_DATA.items())}
    # Without Raqm a joined sequence (a profession, a flag) falls apart into its members.
    single = not features.check("raqm")
    rights = _rights(Path(path), font)
    return [
        art
        for name, text in sorted(named.items())
        if not (single and len(text.rstrip("️")) > 1)
        for art in _drawings(name, text, font, rights)
    ]


def _drawings(name: str, text: str, font: ImageFont.FreeTypeFont, rights: Rights) -> Iterator[Artwork]:
    if font.getlength(text) > _CANVAS[0] * 1.5:
        return
    picture = Image.new("RGBA", _CANVAS)
    ImageDraw.Draw(picture).text((0, 0), text, font=font, embedded_color=True)
    if picture.getbbox() is None:
        return
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    data = base64.b64encode(packed.getvalue()).decode()
    width, height = _CANVAS
    canvas = square(0.0, 0.0, width, height)
    view = " ".join(f"{value:g}" for value in canvas)
    image = f'<image width="{width}" height="{height}" xlink:href="data:image/png;base64,{data}"/>'
    svg = f'{SVG_HEAD} viewBox="{view}">{image}</svg>'
    sha256 = hashlib.sha256(svg.encode()).hexdigest()
    record = Rights(rights.source, rights.version, rights.licence, rights.author, rights.url, name, sha256)
    yield Artwork(name, "font", svg, "Emoji", record, (), canvas)


def _rights(path: Path, font: ImageFont.FreeTypeFont) -> Rights:
    """What is known of the font: Noto Color Emoji's licence by its name; any other is marked unknown."""
    family = str(font.getname()[0] or path.name)
    noto = family == "Noto Color Emoji"
    return Rights(
        source=family,
        version="sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        licence="OFL-1.1" if noto else "LicenseRef-font",
        author="Google Inc" if noto else family,
        url="https://github.com/googlefonts/noto-emoji" if noto else "",
        name="",
        sha256="",
    )
