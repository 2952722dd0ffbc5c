"""Whether the content credentials of a picture forbid that models are trained on it.

    c2pa.training-mining, cawg.training-mining: {"entries": {"c2pa.ai_generative_training": {"use": "notAllowed"}}}

C2PA specification 2.1, section 18.21; CAWG training and data mining assertion 1.1. The answer is that of the newest
manifest. Credentials of any state count: a picture whose signature no longer holds is still somebody's wish.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from sumi.trust.credentials import find_media_type

__all__ = ["find_training_ban"]

LABELS = ("c2pa.training-mining", "cawg.training-mining")
USES = ("ai_generative_training", "ai_training", "data_mining")
FORBIDDEN = ("notAllowed", "constrained")


def find_training_ban(data: bytes) -> str:
    """Return what the credentials in a file forbid, such as "c2pa.ai_training: notAllowed"; "" where nothing."""
    media_type = find_media_type(data)
    if media_type is None or b"c2pa" not in data:
        return ""
    import c2pa

    settings = {"verify": {"verify_after_reading": False, "remote_manifest_fetch": False, "ocsp_fetch": False}}
    try:
        context = c2pa.Context(settings=c2pa.Settings.from_dict(settings))
        with c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader:
            report = json.loads(reader.json())
    except (c2pa.C2paError, ValueError):
        return ""
    manifest = report.get("manifests", {}).get(report.get("active_manifest"), {})
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith(LABELS) and (ban := _ban_of(assertion.get("data"))):
            return ban
    return ""


def _ban_of(data: Any) -> str:
    entries = data.get("entries", {}) if isinstance(data, Mapping) else {}
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        use = entry.get("use") if isinstance(entry, Mapping) else None
        if str(name).split(".")[-1] in USES and use in FORBIDDEN:
            return f"{name}: {use}"
    return ""
