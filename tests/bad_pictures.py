"""Files that nobody honest sends as a picture, made by script: cut, spoilt, too large, two things at once, or none.

They are looked at and not drawn from (`LOOK`), which opens them all the same.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

LOOK = "/v1/content_provenance_checks"


@dataclass(frozen=True)
class Case:
    """One request, and whether it must be refused; otherwise a correct answer is as good."""

    name: str
    method: str
    path: str
    refused: bool = False
    sent: dict[str, Any] = field(default_factory=dict)


def look(name: str, data: bytes, refused: bool = False, filename: str = "a.png", kind: str = "image/png") -> Case:
    return Case(name, "POST", LOOK, refused, {"files": {"file": (filename, data, kind)}})


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **how)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"\0" * 64, kind: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    body = head + b"".join(more) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


KINDS = {"PNG": True, "JPEG": True, "WEBP": True, "GIF": True, "TIFF": False, "BMP": False}


def truncated() -> Iterator[Case]:
    for kind in KINDS:
        whole = saved(picture(), kind)
        for part in range(10):
            yield look(f"{kind} cut at {part}/10", whole[: len(whole) * part // 10], refused=part == 0)


def flipped() -> Iterator[Case]:
    for kind in KINDS:
        whole = saved(picture(), kind)
        for place in (0, 4, 9, 14, 20, 25, 30):
            spoilt = bytearray(whole)
            spoilt[place] ^= 0xFF
            yield look(f"{kind} with byte {place} flipped", bytes(spoilt))


def bombs() -> Iterator[Case]:
    zeros = zlib.compress(b"\0" * 2**26, 9)
    yield look("PNG of 50,000 x 50,000", png(50_000, 50_000), refused=True)
    yield look("PNG of 8,000 x 8,000, all there", png(8000, 8000, pixels=b"\0" * (8000 * 8001), kind=0), refused=True)
    yield look("PNG of 2^31 - 1 pixels a side", png(2**31 - 1, 2**31 - 1), refused=True)
    yield look("zTXt of 64 MB", png(1, 1, chunk(b"zTXt", b"a\0\0" + zeros)))
    yield look("iTXt of 64 MB", png(1, 1, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros)))
    yield look("iCCP of 64 MB", png(1, 1, chunk(b"iCCP", b"a\0\0" + zeros)))
    frames = [Image.new("P", (64, 64), number % 250) for number in range(300)]
    yield look("GIF of 300 frames", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    yield look("GIF that says it is 65,535 x 65,535", b"GIF89a" + b"\xff" * 4 + saved(picture("P"), "GIF")[10:], True)
    yield look("WebP that says it is 16,383 x 16,383", webp(16383, 16383), refused=True)
    yield look("JPEG that says it is 65,500 x 65,500", jpeg(65500, 65500), refused=True)


def webp(width: int, height: int) -> bytes:
    data = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 40
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    whole = bytearray(saved(picture(), "JPEG"))
    place = whole.index(b"\xff\xc0") + 5
    whole[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(whole)


def polyglots() -> Iterator[Case]:
    for kind in ("PNG", "GIF", "JPEG"):
        whole = saved(picture(), kind)
        for name, tail in (
            ("HTML", b"<script>alert(1)</script>"),
            ("ZIP", b"PK\3\4" + b"\0" * 50),
            ("JS", b"/*a*/=1;"),
        ):
            yield look(f"{kind} and {name}", whole + tail)
            yield look(f"{name} and {kind}", tail + whole, refused=True)
    yield look("HTML in a text of a PNG", png(1, 1, chunk(b"tEXt", b"sumi\0<script>alert(1)</script>")))
    yield look("a recipe 1,000 deep", png(1, 1, chunk(b"tEXt", b"sumi\0" + b"[" * 1000 + b"]" * 1000)))
    yield look("a recipe that is no object", png(1, 1, chunk(b"tEXt", b"sumi\0[1, 2]")))


def metadata() -> Iterator[Case]:
    for orientation in (*range(10), 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "WEBP"):
            yield look(f"{kind} of orientation {orientation}", saved(picture(), kind, exif=exif))
    for kind in ("JPEG", "PNG", "WEBP"):
        yield look(f"{kind} with broken EXIF", saved(picture(), kind, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\xff"))
        yield look(f"{kind} with a broken profile", saved(picture(), kind, icc_profile=b"no profile" * 20))
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///dev/null'>]><a>&b;</a>")
    yield look("XMP with an entity", saved(picture(), "PNG", pnginfo=info))


def modes() -> Iterator[Case]:
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        image = Image.new("I;16", (20, 20), 40_000) if mode == "I;16" else picture(mode)
        yield look(f"PNG of {mode}", saved(image, "PNG"))
    yield look("PNG of a palette with transparency", saved(picture("P"), "PNG", transparency=3))
    for mode in ("L", "CMYK"):
        yield look(f"JPEG of {mode}", saved(picture(mode), "JPEG"))
    for mode in ("F", "I", "CMYK"):
        yield look(f"TIFF of {mode}", saved(picture(mode), "TIFF"), refused=True)
    for kind in ("GIF", "WEBP", "PNG"):
        rest = [picture(), picture("L").convert("RGB"), picture("P").convert("RGB")]
        yield look(f"{kind} that moves", saved(picture(), kind, save_all=True, append_images=rest))
    for size in ((0, 0), (0, 5), (5, 0)):
        yield look(f"PNG of {size}", png(*size), refused=True)
    for size in ((1, 1), (1, 8000), (8000, 1), (1, 65_000), (65_000, 1)):
        yield look(f"PNG of {size}", saved(Image.new("L", size), "PNG"), refused=max(size) > 8192)


def impostors() -> Iterator[Case]:
    whole = saved(picture(), "PNG")
    for filename in ("a.exe", "a", "../../a.png", "a.png\0.html", "a" * 300, "C:\\a.png", "%2e%2e/a", "/dev/null"):
        yield look(f"a PNG called {filename[:20]!r}", whole, filename=filename)
    for kind in ("text/html", "application/json", "image/svg+xml", "", "x" * 200):
        yield look(f"a PNG said to be {kind[:20]!r}", whole, kind=kind)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///dev/null"/></svg>'
    entity = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "b">]><svg>&b;</svg>'
    others = {
        "SVG": svg,
        "XML": entity,
        "HTML": b"<html></html>",
        "nothing": b"",
        "a NUL": b"\0",
        "text": b"a red fox",
        "PDF": b"%PDF-1.7\n",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "PSD": b"8BPS" + b"\0" * 40,
        "DDS": b"DDS |" + b"\0" * 124,
        "AVIF": b"\0\0\0\x20ftypavif" + b"\0" * 40,
        "ICO": b"\0\0\1\0\1\0" + b"\0" * 40,
        "FLI": b"\0\0\0\0\x11\xaf" + b"\0" * 128,
        "WMF": b"\xd7\xcd\xc6\x9a" + b"\0" * 60,
        "JPEG 2000": b"\xff\x4f\xff\x51" + b"\0" * 60,
    }
    for name, data in others.items():
        yield look(f"{name} as a PNG", data, refused=True)


PICTURES = (truncated, flipped, bombs, polyglots, metadata, modes, impostors)
