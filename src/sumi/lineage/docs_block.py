"""The results of a system in its Markdown page: a block between two comments that every lineage run rewrites.

    <!-- sumi lineage: ddpm, ddim -->   pictures and a table of these   <!-- end -->

The rest of the page is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["fill_results"]

Row = Mapping[str, Any]

BLOCK = re.compile(r"<!-- sumi lineage: ([\w, ]+) -->\n.*?<!-- end -->", re.DOTALL)
HEAD = "| system | KID | the thing asked for | a thing it was taught | parameters | trained | a picture |"


def fill_results(text: str, record: Mapping[str, Any], place: str) -> str:
    """Return a page with its blocks filled.

    Args:
        text: the page; a block without any system in the record stays as it is.
        record: the contents of lineage.json.
        place: the name of the folder of the pictures, which lies beside the folder of the page.
    """
    rows = {row["name"]: row for row in record["systems"]}

    def block(found: re.Match[str]) -> str:
        some = [rows[name] for name in found[1].split(", ") if name in rows]
        if not some:
            return found[0]
        return f"<!-- sumi lineage: {found[1]} -->\n{_block(some, record, place)}\n<!-- end -->"

    return BLOCK.sub(block, text)


def _block(rows: list[Row], record: Mapping[str, Any], place: str) -> str:
    terms = record["terms"]
    told = (
        f"Not picked, at {terms['size_px']} px, after {terms['processor_s']:.0f} seconds of one processor's time, as "
        f"every other system had. What the figures mean is on\n[the page of the whole lineage](../{place}/index.html); "
        "`sumi lineage` makes them again."
    )
    pictures = [
        f"![`{row['name']}`: sixteen pictures](../{place}/{row['name']}.png)" for row in rows if "error" not in row
    ]
    lines = [_line(row) for row in (*rows, record["truth"])]
    return "\n\n".join([told, *pictures, "\n".join([HEAD, "|---|---|---|---|---|---|---|", *lines])])


def _line(row: Row) -> str:
    if "error" in row:
        return f"| `{row['name']}` | failed | | | | | |"
    quality = row["quality"]
    cells = [
        f"`{row['name']}`" if "steps" in row else row["name"],
        f"{quality['kid']:.2f} ± {quality['error']:.2f}",
        _share(row["asked"]),
        _share(row["known"]),
        f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else "",
        f"{row['train_s']:.0f} s" if "train_s" in row else "",
        f"{row['sample_s']:.3f} s" if "sample_s" in row else "",
    ]
    return f"| {' | '.join(cells)} |"


def _share(share: Mapping[str, Any] | None) -> str:
    if share is None or share["share"] is None:
        return ""
    return f"{100 * share['share']:.0f}% ({100 * share['low']:.0f} to {100 * share['high']:.0f})"
