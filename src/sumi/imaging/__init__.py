"""Image handling in one place: files, pixels, contact sheets, PNG and OpenRaster.

`image_file` opens a picture from anywhere without trusting it. `pixels` converts between images and premultiplied
tensors. `contact_sheet` lays many pictures on one page. `png` encodes. `openraster` writes a picture with its layers.

This package itself exports only what needs no torch, so that a process that merely opens files starts fast.
"""

from sumi.imaging.image_file import FORMATS, ImageLike, as_image, open_image, read_image, rgba
from sumi.imaging.png import encode_png, save_png

__all__ = ["FORMATS", "ImageLike", "as_image", "encode_png", "open_image", "read_image", "rgba", "save_png"]
