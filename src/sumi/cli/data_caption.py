"""`sumi data caption`: CLIP proposes words for pictures without a caption."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from sumi.cli.data_check import pictures_argument
from sumi.cli.data_dedup import selection_option
from sumi.cli.options import json_option, model_option
from sumi.cli.streams import escape_text
from sumi.errors import SumiError

SHOWN = 20


@click.command("caption")
@pictures_argument
@click.option(
    "--words",
    "listed",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Words to choose from, one a line. [default: the things that the model knows]",
)
@click.option("-k", "most", type=click.IntRange(1, 8), default=1, show_default=True, help="Words in a caption.")
@model_option
@selection_option
@json_option
def caption(pictures: str, listed: Path | None, most: int, model: str | None, out: Path | None, as_json: bool) -> None:
    """Propose captions for those of PICTURES that have none.

    CLIP of --model chooses words. Each such caption is marked as machine-made; captions that are there stay.
    """  # fmt: skip
    from sumi.cli.screen import start_progress_bar
    from sumi.conditioning import Lexicon
    from sumi.curation.caption_proposals import propose_captions, vocabulary_words
    from sumi.curation.embedding import load_clip
    from sumi.curation.machine_captions import CAPTION_BY
    from sumi.curation.selection import check_destination, write_selection
    from sumi.data.captions import read_text
    from sumi.data.open_dataset import open_dataset

    if out is not None:
        check_destination(out)
    bundle, clip = load_clip(model)
    words = vocabulary_words(Lexicon(bundle.vocabulary))
    if listed is not None:
        words = list(dict.fromkeys(filter(None, map(str.strip, read_text(listed).splitlines()))))
    dataset = open_dataset(pictures)
    lacking = [record for record in dataset if not record.captions]
    if not lacking:
        raise SumiError(f"every picture in {dataset.place} has a caption already")
    bar = start_progress_bar()
    found, faults = propose_captions(
        lacking, words, clip, bundle.tokenizer().encode, most, partial(bar, "choosing words")
    )
    by = f"machine: CLIP of {bundle.name}, {bundle.hashes.get('clip', '')[:12]}"
    proposals = {one.name: one for one in found}
    written = None
    if out is not None:
        kept = [record for record in dataset if record.captions or record.name in proposals]
        rows = [
            {"text": proposals[record.name].caption, CAPTION_BY: by} if record.name in proposals else {}
            for record in kept
        ]
        written = write_selection(kept, out, rows, partial(bar, "copying"))
    if as_json:
        texts = [{"name": one.name, "text": one.caption, "words": dict(one.words), CAPTION_BY: by} for one in found]
        click.echo(json.dumps({"captions": texts, "unreadable": faults, "out": str(written) if written else None}))
        return
    for one in found[:SHOWN]:
        click.echo(escape_text(f"{one.name}: {one.caption}  ({one.words[0][1]:+.3f})"))
    if len(found) > SHOWN:
        click.echo(f"and {len(found) - SHOWN:,} more, which --json names")
    for fault in faults[:SHOWN]:
        click.echo(escape_text(f"left out: {fault}"))
    click.echo(f"{len(found):,} captions by a machine ({by[9:]}), {len(dataset) - len(lacking):,} were there")
    if written is not None:
        click.echo(str(written))
