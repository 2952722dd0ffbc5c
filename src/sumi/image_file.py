"""`sumi.imaging.image_file` under its earlier name, for programs that import it from here."""

from sumi.imaging.image_file import FORMATS, as_image, open_image, read_image, rgba

__all__ = ["FORMATS", "as_image", "open_image", "read_image", "rgba"]
