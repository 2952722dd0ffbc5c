"""Sheets of samples as PNG files, written so that a half one is never seen."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic_png
from sumi.errors import SumiError


def write_picture(path: Path, sheet: Tensor) -> Path:
    """Write uint8 (3 or 4, H, W) as PNG; four channels are premultiplied, and PNG wants them straight."""
    if sheet.dtype != torch.uint8 or sheet.ndim != 3 or sheet.shape[0] not in (3, 4):
        shape = tuple(sheet.shape)
        raise SumiError(f"picture: a sheet is uint8 of shape (3 or 4, H, W), not {sheet.dtype} of shape {shape}")
    sheet = sheet.cpu()
    if len(sheet) == 4:
        alpha = sheet[3:].float()
        colour = (sheet[:3].float() * 255 / alpha.clamp(min=1)).round().clamp(0, 255)
        sheet = torch.cat([colour.to(torch.uint8), sheet[3:]])
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_atomic_png(path, Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy()))
