"""`read_pictures` under its earlier name, for programs that import it from here."""

from sumi.data.picture_array import read_pictures

__all__ = ["read_folder"]

read_folder = read_pictures
