"""How often each mark of a picture survives ordinary edits: content credentials, the watermark and the fingerprint.

    .venv/bin/python benchmarks/provenance.py PICTURES -n 2000 --json provenance.json

Every picture of the folder is signed and marked, then edited in each way. A mark survives where it passes a threshold
that at most 1 of 1,000 false comparisons passes: other keys looked for in unmarked pictures, and fingerprints of other
pictures. Content credentials have no threshold. Intervals are Wilson's, of 95 per cent, over pictures.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sumi.store.search_index import hamming_distance
from sumi.trust.certificate import SigningCertificate, make_certificate
from sumi.trust.credentials import Credentials, read_manifest, sign_file
from sumi.trust.fingerprint import BITS, make_fingerprint
from sumi.trust.watermark import add_watermark, correlate, detect_watermark, make_filter, residual_spectra

FALSE_POSITIVE_RATE = 1e-3
Edit = Callable[[bytes], bytes]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGBA")


def written(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    if kind == "JPEG":
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image).convert("RGB")
    image.save(file, kind, **settings)
    return file.getvalue()


def resized(scale: float) -> Edit:
    def edit(data: bytes) -> bytes:
        image = opened(data)
        size = (round(image.width * scale), round(image.height * scale))
        return written(image.resize(size, Image.Resampling.BICUBIC))

    return edit


def cropped(share: float) -> Edit:
    def edit(data: bytes) -> bytes:
        image = opened(data)
        width, height = round(image.width * share), round(image.height * share)
        left, top = (image.width - width) // 2 + 3, (image.height - height) // 2 + 5
        return written(image.crop((left, top, min(image.width, left + width), min(image.height, top + height))))

    return edit


def screenshot(scale: float) -> Edit:
    """A picture on a page of another colour, at the scale of the screen."""

    def edit(data: bytes) -> bytes:
        image = opened(data)
        size = (round(image.width * scale), round(image.height * scale))
        shown = image.resize(size, Image.Resampling.BICUBIC)
        page = Image.new("RGBA", (size[0] + 150, size[1] + 90), (240, 240, 236, 255))
        page.alpha_composite(shown, (80, 30))
        return written(page)

    return edit


def recompressed(data: bytes) -> bytes:
    for quality in (85, 70, 80):
        data = written(opened(data), "JPEG", quality=quality)
    return data


EDITS: Mapping[str, Edit] = {
    "none": lambda data: data,
    "metadata stripped": lambda data: written(opened(data)),
    "JPEG 90": lambda data: written(opened(data), "JPEG", quality=90),
    "JPEG 75": lambda data: written(opened(data), "JPEG", quality=75),
    "JPEG 50": lambda data: written(opened(data), "JPEG", quality=50),
    "WebP 75": lambda data: written(opened(data), "WEBP", quality=75),
    "resized to 50%": resized(0.5),
    "resized to 150%": resized(1.5),
    "cropped to 80%": cropped(0.8),
    "cropped to 50%": cropped(0.5),
    "screenshot": screenshot(1.0),
    "screenshot at 125%": screenshot(1.25),
    "recompressed three times": recompressed,
}


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 per cent interval of a share."""
    if count == 0:
        return 0.0, 1.0
    z, share = 1.959964, hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)


def rate(found: Sequence[bool]) -> dict[str, Any]:
    low, high = wilson(sum(found), len(found))
    return {"rate": sum(found) / len(found), "low": low, "high": high, "n": len(found)}


def measure(files: Sequence[Path], edits: Mapping[str, Edit], null_keys: int) -> dict[str, Any]:
    """Return the true-positive rate of every mark after every edit."""
    chain, key = make_certificate()
    certificate = SigningCertificate(chain, key, "ed25519", "")
    credentials = Credentials("picture", "benchmark", "benchmark", "", "")
    originals = [Image.open(path).convert("RGBA") for path in files]
    prints = [make_fingerprint(image) for image in originals]
    scores: dict[str, list[float]] = {name: [] for name in edits}
    apart: dict[str, list[int]] = {name: [] for name in edits}
    signed: dict[str, list[bool]] = {name: [] for name in edits}
    null_scores: list[float] = []
    null_apart: list[int] = []
    for index, image in enumerate(originals):
        data = sign_file(written(add_watermark(image)), "image/png", credentials, certificate)
        for name, edit in edits.items():
            changed = edit(data)
            after = opened(changed)
            signed[name].append(read_manifest(changed).state == "valid")
            scores[name].append(detect_watermark(after).score)
            distances = hamming_distance(make_fingerprint(after), prints)
            apart[name].append(int(distances[index]))
            null_apart += [int(one) for other, one in enumerate(distances) if other != index]
        spectra = [spectrum for _, spectrum in residual_spectra(image)]
        patterns = [make_filter(f"null {number}") for number in range(null_keys)]
        null_scores += [max(correlate(spectrum, pattern) for spectrum in spectra) for pattern in patterns]
        print(f"{index + 1} of {len(originals)}", flush=True)
    most = float(np.quantile(null_scores, 1 - FALSE_POSITIVE_RATE, method="higher"))
    least = int(np.quantile(null_apart, FALSE_POSITIVE_RATE, method="lower")) - 1
    rows = {
        name: {
            "c2pa": rate(signed[name]),
            "watermark": rate([score > most for score in scores[name]]),
            "fingerprint": rate([distance <= least for distance in apart[name]]),
        }
        for name in edits
    }
    return {
        "pictures": len(originals), "watermark_threshold": most, "watermark_nulls": len(null_scores),
        "fingerprint_threshold": least, "fingerprint_bits": BITS, "fingerprint_nulls": len(null_apart), "edits": rows,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="a folder of PNG files that Sumi drew, without a watermark")
    parser.add_argument("-n", type=int, default=2000, help="how many of them")
    parser.add_argument("--null-keys", type=int, default=50, help="other keys that are looked for in each picture")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    report = measure(sorted(given.pictures.glob("*.png"))[: given.n], EDITS, given.null_keys)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    for name, row in report["edits"].items():
        shares = [f"{one['rate']:.2f} ({one['low']:.2f}-{one['high']:.2f})" for one in row.values()]
        print(f"{name:<26}" + "  ".join(f"{share:<18}" for share in shares))


if __name__ == "__main__":
    main()
