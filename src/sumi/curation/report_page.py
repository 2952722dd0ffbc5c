"""The report on a data set as one HTML file: what was found, with thumbnails of the pictures that it concerns.

The page loads nothing: thumbnails are in it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from sumi.curation.check import DataReport, Finding, count_pictures
from sumi.data.picture_dataset import PictureDataset, PictureRecord
from sumi.errors import SumiError

__all__ = ["report_page"]

THUMBNAIL_PX, MOST_THUMBNAILS = 96, 24
STYLE = """
:root { color-scheme: light dark; --ink: #1d1f24; --soft: #5c626e; --paper: #fbfaf7; --card: #fff; --line: #e3e0d8;
  --error: #b3261e; --warning: #8a5300; --note: #2a5d9f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e6df; --soft: #a4a9b5; --paper: #16171a; --card: #1f2126;
  --line: #33363d; --error: #ff8a80; --warning: #f0b45a; --note: #8ab8f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
p { margin: .3rem 0; max-width: 50rem; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); }
.level { font-weight: 600; }
.error { color: var(--error); } .warning { color: var(--warning); } .note { color: var(--note); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .8rem; margin-top: .8rem; }
figure { margin: 0; }
img, .missing { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border: 1px solid var(--line);
  border-radius: 6px; background: var(--card) repeating-conic-gradient(#8882 0 25%, #0000 0 50%) 0 0 / 16px 16px; }
figcaption { font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere; margin-top: .25rem; }
"""


def report_page(report: DataReport, dataset: PictureDataset) -> str:
    """Return the page as HTML.

    Args:
        report: what was found.
        dataset: the pictures, of which thumbnails are made.
    """
    records = {record.name: record for record in dataset}
    sections = "\n".join(_section(finding, records) for finding in report.findings)
    verdict = "Training would fail." if report.breaks_training else "Nothing here would make training fail."
    least, median, most = report.sizes_px
    sample = _grid(list(records)[:: max(1, len(records) // 12)][:12], records)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Report on {escape(report.place)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(report.place)}</h1>
<p>{report.count:,} pictures ({report.kind}), {report.captioned:,} with a caption, {report.labelled:,} with a label.
The smaller side is {least} to {most} px, {median} px in the middle. {report.words:,} words in captions,
{report.unknown_words:,} of them new to the model.</p>
<p class="level {"error" if report.breaks_training else ""}">{verdict}</p>
{sections}
<section><h2>Some of the pictures</h2>{sample}</section>
</main>
</body>
</html>
"""


def _section(finding: Finding, records: Mapping[str, PictureRecord]) -> str:
    count = f" · {count_pictures(len(finding.pictures))}" if finding.pictures else ""
    title = finding.code.replace("_", " ")
    more = len(finding.pictures) - MOST_THUMBNAILS
    rest = f'<p class="soft">and {more:,} more</p>' if more > 0 else ""
    return (
        f'<section><h2><span class="level {finding.level}">{finding.level}</span> {escape(title)}{count}</h2>'
        f"<p>{escape(finding.text)}</p>{_grid(finding.pictures[:MOST_THUMBNAILS], records)}{rest}</section>"
    )


def _grid(names: Sequence[str], records: Mapping[str, PictureRecord]) -> str:
    figures = "".join(_figure(records[name]) for name in names if name in records)
    return f'<div class="grid">{figures}</div>' if figures else ""


def _figure(record: PictureRecord) -> str:
    caption = escape(record.caption[:120])
    try:
        image = record.open()
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=80)
        source = base64.b64encode(file.getvalue()).decode()
        picture = f'<img src="data:image/webp;base64,{source}" alt="{caption or escape(record.name)}" decoding="async">'
    except SumiError:
        picture = '<div class="missing" role="img" aria-label="cannot be read"></div>'
    return f"<figure>{picture}<figcaption>{escape(record.name)}<br>{caption}</figcaption></figure>"
