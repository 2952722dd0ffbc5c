"""Sheets of samples as PNG files, written atomically."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sumi.errors import SumiError
from sumi.imaging.pixels import to_image
from sumi.imaging.png import save_png


def write_sample_sheet(path: Path, sheet: Tensor) -> Path:
    """Write a sheet as PNG and return its path.

    Args:
        path: the file; its folder is made.
        sheet: uint8 (3 or 4, H, W); RGBA is premultiplied, and the file has straight alpha.

    Raises:
        SumiError: the sheet has another shape or type.
    """
    if sheet.dtype != torch.uint8 or sheet.ndim != 3 or sheet.shape[0] not in (3, 4):
        shape = tuple(sheet.shape)
        raise SumiError(f"picture: a sheet is uint8 of shape (3 or 4, H, W), not {sheet.dtype} of shape {shape}")
    opaque = torch.full_like(sheet[:1], 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_png(path, to_image(sheet if len(sheet) == 4 else torch.cat([sheet, opaque])))
