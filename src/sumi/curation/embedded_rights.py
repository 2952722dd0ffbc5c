"""What the file of a picture says about rights: XMP, IPTC, EXIF, PNG texts and content credentials.

    XMP    dc:creator, dc:rights, xmpRights:UsageTerms, xmpRights:WebStatement, plus:DataMining, DigitalSourceType
    IPTC   2:80 by-line, 2:110 credit, 2:116 copyright notice
    EXIF   Artist, Copyright
    PNG    Author, Copyright, License
    C2PA   training-mining assertions

IPTC's data mining property (IPTC Photo Metadata Standard 2023.1, PLUS vocabulary DMI) and `noai` among the keywords
forbid training. Nothing in a file is trusted: sizes are bounded, and a packet with a document type is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from sumi.data.picture_dataset import clean_text
from sumi.trust.training_mining import find_training_ban

__all__ = ["NO_AI", "EmbeddedRights", "read_embedded_rights"]

LARGEST_PACKET_BYTES = 2**20
NO_AI = ("noai", "noimageai", "no-ai", "donottrain", "do-not-train")
"""Words by which pages, headers and keywords forbid training."""
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
EXIF_ARTIST, EXIF_COPYRIGHT = 0x013B, 0x8298
IPTC_RESOURCE = 0x0404
IPTC_FIELDS = {"author": ((2, 80), (2, 110)), "copyright": ((2, 116),)}


@dataclass(frozen=True)
class EmbeddedRights:
    """What a file says about rights, "" where it says nothing.

    Attributes:
        licence: its terms of use.
        author: who made it.
        evidence: an address where the terms stand, or the copyright notice.
        ban: why nothing may be trained on it.
        is_generated: whether it says that a model drew it.
    """

    licence: str = ""
    author: str = ""
    evidence: str = ""
    ban: str = ""
    is_generated: bool = False


def read_embedded_rights(data: bytes, image: Image.Image) -> EmbeddedRights:
    """Return what a file says about rights.

    Args:
        data: the file.
        image: the same, as `read_image` opened it, with its metadata.
    """
    xmp, texts, exif, iptc = _read_xmp(image), _read_texts(image), _read_exif(image), _read_iptc(image)
    licence = _first(xmp, "UsageTerms") or _first(xmp, "license") or texts.get("license", "")
    notice = _first(xmp, "rights") or iptc["copyright"] or exif["copyright"] or texts.get("copyright", "")
    return EmbeddedRights(
        licence=licence or (notice if _names_licence(notice) else ""),
        author=_first(xmp, "creator") or iptc["author"] or exif["author"] or texts.get("author", ""),
        evidence=_first(xmp, "WebStatement") or notice,
        ban=_find_ban(data, xmp),
        is_generated=_first(xmp, "DigitalSourceType").endswith(GENERATED),
    )


def _find_ban(data: bytes, xmp: dict[str, list[str]]) -> str:
    for value in xmp.get("DataMining", ()):
        if "DMI-PROHIBITED" in value.upper():
            return f"IPTC data mining: {value.rsplit('/', 1)[-1]}"
    for word in xmp.get("subject", ()):
        if word.casefold() in NO_AI:
            return f"the keyword {word}"
    ban = find_training_ban(data)
    return f"content credentials: {ban}" if ban else ""


def _names_licence(notice: str) -> bool:
    return any(sign in notice.casefold() for sign in ("cc-by", "cc by", "cc0", "creative commons", "public domain"))


def _first(fields: dict[str, list[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def _read_xmp(image: Image.Image) -> dict[str, list[str]]:
    """Return the texts of an XMP packet by the local names of their properties."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    packet = (packet.encode("utf-8", "replace") if isinstance(packet, str) else packet).strip(b"\0 \r\n\t")
    if not packet or len(packet) > LARGEST_PACKET_BYTES or b"<!" in packet or b"\0" in packet:
        return {}  # entities, also in UTF-16, which XMP in pictures never is
    try:
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError):
        return {}
    found: dict[str, list[str]] = {}
    for name, text in _properties(root):
        if cleaned := clean_text(text):
            found.setdefault(name, []).append(cleaned)
    return found


def _properties(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each property: an attribute, a text, a resource, or an item of a list.

    Each element is visited once, however deep descriptions are nested.
    """
    waiting: list[tuple[ElementTree.Element, str]] = [(root, "")]
    while waiting:
        element, name = waiting.pop()
        if name:
            yield name, element.text or ""
            yield from ((name, value) for key, value in element.attrib.items() if _local(key) == "resource")
        describes = _local(element.tag) == "Description"
        if describes:
            yield from ((_local(key), value) for key, value in element.attrib.items())
        waiting += [(child, _local(child.tag) if describes else name) for child in reversed(element)]


def _local(name: Any) -> str:
    return str(name).rsplit("}", 1)[-1]


def _read_texts(image: Image.Image) -> dict[str, str]:
    texts = {str(name).casefold(): value for name, value in image.info.items() if isinstance(value, str)}
    return {name: clean_text(texts[name]) for name in ("author", "copyright", "license") if name in texts}


def _read_exif(image: Image.Image) -> dict[str, str]:
    try:
        exif = image.getexif()
        values = {"author": exif.get(EXIF_ARTIST), "copyright": exif.get(EXIF_COPYRIGHT)}
    except Exception:  # damaged EXIF
        values = {"author": None, "copyright": None}
    return {name: clean_text(value.strip("\0")) if isinstance(value, str) else "" for name, value in values.items()}


def _read_iptc(image: Image.Image) -> dict[str, str]:
    """Return the texts of an IPTC-IIM block: records of 0x1c, record, data set, length and value."""
    photoshop = image.info.get("photoshop")
    block = photoshop.get(IPTC_RESOURCE, b"") if isinstance(photoshop, dict) else b""
    values: dict[tuple[int, int], str] = {}
    while len(block) >= 5 and block[0] == 0x1C:
        size = int.from_bytes(block[3:5], "big")
        values.setdefault((block[1], block[2]), clean_text(block[5 : 5 + size].decode("utf-8", "replace")))
        block = block[5 + size :]
    return {name: next(filter(None, map(values.get, keys)), "") for name, keys in IPTC_FIELDS.items()}
