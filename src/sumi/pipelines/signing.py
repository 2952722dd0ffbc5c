"""Signing a picture: what its content credentials say, taken from its recipe, and the pictures that it was made from.

picture -> file with its metadata -> `sign_picture` -> the bytes that are handed out
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sumi.errors import SumiError
from sumi.imaging.image_file import LARGEST_FILE_BYTES, contents, rgba
from sumi.imaging.png import encode_png
from sumi.pipelines.recipe import Recipe
from sumi.trust.certificate import SigningCertificate, find_folder, load_certificate
from sumi.trust.credentials import Credentials, Ingredient, find_media_type, hash_recipe, sign_file
from sumi.trust.watermark import add_watermark, find_key, is_on

if TYPE_CHECKING:
    from sumi.pipelines.events import Event, Picture

__all__ = [
    "TIMESTAMP_VARIABLE",
    "add_origin",
    "find_certificate",
    "make_ingredient",
    "mark_picture",
    "read_once",
    "sign_picture",
]

TIMESTAMP_VARIABLE: Final = "SUMI_TIMESTAMP_URL"


def find_certificate() -> SigningCertificate | None:
    """Return the certificate that this machine signs with, made on the first call; None where signing is off.

    Raises:
        SumiError: it cannot be read, or not be kept where it belongs.
    """
    folder = find_folder()
    return None if folder is None else _load(folder)


_load = lru_cache(maxsize=4)(load_certificate)


def mark_picture(picture: Picture) -> Picture:
    """Return a picture with the watermark, where that is on (`sumi.trust.watermark`).

    An edit keeps every other pixel of its picture to the bit, also the marks in them, so it gets no further one.
    """
    if not is_on() or picture.recipe.operation == "edit":
        return picture
    return replace(picture, image=add_watermark(picture.image, find_key()))


def sign_picture(picture: Picture, data: bytes, media_type: str = "image/png") -> bytes:
    """Return a picture's file with content credentials, or as it is where signing is off.

    Args:
        picture: the picture.
        data: its finished file; nothing may be written to it afterwards.
        media_type: of the file.

    Raises:
        SumiError: the certificate cannot be read or kept, or the file cannot be signed.
    """
    certificate = find_certificate()
    if certificate is None:
        return data
    credentials = make_credentials(picture.recipe, picture.rights, picture.ingredients)
    return sign_file(data, media_type, credentials, certificate, os.environ.get(TIMESTAMP_VARIABLE, ""))


def make_credentials(recipe: Recipe, rights: str = "", ingredients: Sequence[Ingredient] = ()) -> Credentials:
    """Return what a signature says about a picture of a recipe."""
    return Credentials(
        title=recipe.prompt or recipe.operation,
        version=recipe.version,
        model=recipe.model,
        model_sha256=hash_recipe(recipe.hashes),
        recipe_sha256=hash_recipe(recipe.to_json()),
        operation=recipe.operation,
        rights=rights,
        source_type=recipe.ai_fields()["source_type"],
        ingredients=ingredients,
    )


def add_origin(events: Iterable[Event], rights: str, pictures: Sequence[Any]) -> Iterator[Event]:
    """Yield events, whose pictures know what they were made from.

    Args:
        events: of a task.
        rights: one line about the pictures that taught the model.
        pictures: those that the task starts from. A file is an ingredient with the marks that it carries; what is no
            file, such as an array, is one without.
    """
    from sumi.pipelines.events import Picture

    ingredients = [make_ingredient(picture) for picture in pictures]
    for event in events:
        yield replace(event, rights=rights, ingredients=ingredients) if isinstance(event, Picture) else event


def read_once(picture: Any) -> Any:
    """Return the bytes of an open file, and any other picture as it is."""
    return contents(picture, "given") if hasattr(picture, "read") else picture


def make_ingredient(picture: Any) -> Ingredient:
    """Return a picture as an ingredient of another."""
    title = Path(picture).name if isinstance(picture, str | os.PathLike) else "picture"
    data = _file_of(picture)
    media_type = None if data is None else find_media_type(data)
    if data is None or media_type is None:
        from sumi.pipelines.picturelike import as_image

        return Ingredient(encode_png(rgba(as_image(picture)), fast=True), "image/png", title)
    return Ingredient(data, media_type, title)


def _file_of(picture: Any) -> bytes | None:
    """Return the bytes of a picture's file; None for a picture that is none."""
    from sumi.pipelines.events import Picture

    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | os.PathLike):
        try:
            with Path(picture).open("rb") as file:
                return file.read(LARGEST_FILE_BYTES)
        except OSError as error:
            raise SumiError(f"cannot read the picture {picture}: {error.strerror or error}") from None
    if isinstance(picture, Picture):
        return picture.signed_png()
    return None
