"""Every picture of a data set, opened once: fingerprint, size, view and what its file says about rights.

    for scan in scan_pictures(dataset):  scan.fingerprint, scan.size_px, scan.fault

The curation of a data set begins here. A scan of one picture depends on nothing but that picture, so scans may be made
by many processes (`engine`), with the same results.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sumi.curation.embedded_rights import EmbeddedRights, read_embedded_rights
from sumi.curation.engine import map_records
from sumi.curation.fingerprint import Fingerprint, fingerprint_of, make_view
from sumi.data.picture_dataset import PictureDataset, PictureRecord
from sumi.errors import SumiError
from sumi.imaging.image_file import read_image, rgba

__all__ = ["PictureScan", "Progress", "scan_pictures", "scan_record"]

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""
NO_FINGERPRINT, NO_RIGHTS = Fingerprint("", "", ""), EmbeddedRights()


@dataclass(frozen=True)
class PictureScan:
    """What one picture is.

    Attributes:
        name: of its record.
        fault: why it cannot be read; "" where it can, and only then has it the rest.
        fingerprint: its hashes.
        size_px: width and height.
        is_blank: whether all of its pixels are alike.
        view: uint8 (3, 64, 64), see `sumi.curation.fingerprint`; None where it was not kept.
        embedded: what its file says about rights.
    """

    name: str
    fault: str = ""
    fingerprint: Fingerprint = NO_FINGERPRINT
    size_px: tuple[int, int] = (0, 0)
    is_blank: bool = False
    view: NDArray[np.uint8] | None = None
    embedded: EmbeddedRights = NO_RIGHTS


def scan_pictures(
    dataset: PictureDataset,
    progress: Progress = lambda done, of: None,
    engine: str = "local",
    views: bool = False,
) -> list[PictureScan]:
    """Return a scan of each picture, in the order of the data set; a picture that cannot be read has a fault.

    Args:
        dataset: the pictures.
        progress: called after each picture.
        engine: "local", or "ray" for a cluster.
        views: whether to keep the views, 12 KB for each picture.
    """
    order = sorted(range(len(dataset)), key=lambda number: dataset[number].position)
    scans: list[PictureScan | None] = [None] * len(dataset)
    records = [dataset[number] for number in order]
    for done, (number, scan) in enumerate(zip(order, map_records(scan_record, records, engine), strict=True), 1):
        scans[number] = scan if views else replace(scan, view=None)
        progress(done, len(dataset))
    return [scan for scan in scans if scan is not None]


def scan_record(record: PictureRecord) -> PictureScan:
    """Return the scan of one picture."""
    try:
        data = record.read()
        opened = read_image(io.BytesIO(data), record.location)
        embedded = read_embedded_rights(data, opened)
        image = rgba(opened)
    except SumiError as error:
        return PictureScan(record.name, str(error).replace("the picture given", f"the picture {record.location}"))
    except OSError as error:
        return PictureScan(record.name, f"cannot read the picture {record.location}: {error.strerror or error}")
    view = make_view(image)
    extrema = [image.getchannel(channel).getextrema() for channel in "RGBA"]
    blank = extrema[3] == (0, 0) or all(low == high for low, high in extrema)
    return PictureScan(record.name, "", fingerprint_of(data, image, view), image.size, blank, view, embedded)
