"""OpenRaster files: a picture with its layers, for Krita, GIMP and MyPaint.

    .ora = zip(mimetype, stack.xml, data/layer-k.png, mergedimage.png, Thumbnails/thumbnail.png)

https://www.openraster.org, version 0.0.6: `mimetype` comes first and is not compressed; the stack lists the topmost
layer first.
"""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree

from PIL import Image

from sumi.imaging.png import encode_png

__all__ = ["MIMETYPE", "Layers", "openraster"]

MIMETYPE = "image/openraster"
THUMBNAIL_PX = 256

Layers = tuple[tuple[str, Image.Image], ...]
"""The layers of a picture from back to front: a name and an RGBA image of the size of the picture for each."""


def openraster(image: Image.Image, layers: Layers) -> bytes:
    """Return the OpenRaster file of a picture and its layers."""
    stack = ElementTree.Element("image", version="0.0.6", w=str(image.width), h=str(image.height))
    pile = ElementTree.SubElement(stack, "stack")
    names = [f"data/layer-{number}.png" for number in range(1, len(layers) + 1)]
    for source, (name, _) in reversed(list(zip(names, layers, strict=True))):
        ElementTree.SubElement(pile, "layer", name=remove_control_characters(name), src=source, x="0", y="0")
    thumbnail = image.copy()
    thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), MIMETYPE, zipfile.ZIP_STORED)
        archive.writestr("stack.xml", ElementTree.tostring(stack, encoding="UTF-8", xml_declaration=True))
        pictures = [*zip(names, (layer for _, layer in layers), strict=True)]
        for path, shown in [*pictures, ("mergedimage.png", image), ("Thumbnails/thumbnail.png", thumbnail)]:
            archive.writestr(path, encode_png(shown))
    return file.getvalue()


def remove_control_characters(name: str) -> str:
    """Return a name without the control characters that XML forbids."""
    return "".join(sign for sign in name if sign.isprintable())
