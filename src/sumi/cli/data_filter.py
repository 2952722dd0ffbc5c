"""`sumi data filter`: leaves out captions that a machine wrote, and says what that changes."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import click

from sumi.cli.data_check import pictures_argument
from sumi.cli.data_dedup import selection_option
from sumi.cli.options import json_option
from sumi.cli.streams import escape_text
from sumi.errors import SumiError

SHOWN = 3
MOVED = 0.005
"""Groups whose share moved by less are not printed."""


@click.command("filter")
@pictures_argument
@click.option(
    "--groups",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Words whose shares are kept, as JSON: {"people": ["woman", "man"]}. [default: the commonest words]',
)
@click.option("--allow", multiple=True, metavar="CODE", help="A reason that does not count, such as tags; repeatable.")
@selection_option
@json_option
def filter_captions(
    pictures: str, groups: Path | None, allow: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Leave out pictures of PICTURES whose captions a machine wrote, and pictures without a caption.

    What is left out changes how often things occur. The command measures that for groups of words, and gives each
    picture that stays a weight by which the shares are what they were.
    """
    from sumi.cli.screen import start_progress_bar
    from sumi.curation.machine_captions import REASONS, is_marked, reasons_of
    from sumi.curation.reweighting import common_groups, reweight
    from sumi.curation.selection import check_destination, write_selection
    from sumi.data.open_dataset import open_dataset

    if unknown := [code for code in allow if code not in REASONS]:
        raise SumiError(f"there is no reason {unknown[0]!r}: choose from {', '.join(REASONS)}")
    if out is not None:
        check_destination(out)
    dataset = open_dataset(pictures)
    described = [record for record in dataset if record.captions]
    captions = [record.caption for record in described]
    marked = [("marked",) if is_marked(record.fields) else () for record in described]
    found = [(*mark, *codes) for mark, codes in zip(marked, reasons_of(captions), strict=True)]
    reasons = [tuple(code for code in codes if code not in allow) for codes in found]
    kept = [number for number, codes in enumerate(reasons) if not codes]
    chosen = common_groups(captions) if groups is None else read_groups(groups)
    balance = reweight(captions, kept, chosen)
    written = None
    if out is not None:
        rows = [{"weight": round(float(weight), 4)} for weight in balance.weights]
        records = [described[number] for number in kept]
        written = write_selection(records, out, rows, partial(start_progress_bar(), "copying"))
    dropped = [number for number, codes in enumerate(reasons) if codes]
    if as_json:
        click.echo(json.dumps({
            "place": dataset.place, "pictures": len(dataset), "without_caption": len(dataset) - len(described),
            "kept": len(kept), "effective": round(balance.effective, 1),
            "dropped": [
                {"name": described[n].name, "caption": captions[n], "reasons": list(reasons[n])} for n in dropped
            ],
            "groups": [
                {"name": one.name, "before": one.before, "after": one.after, "weighted": one.weighted}
                for one in balance.shares
            ],
            "out": str(written) if written else None,
        }))  # fmt: skip
        return
    counts = Counter(code for number in dropped for code in reasons[number])
    for code, count in counts.most_common():
        click.echo(f"{count:>7,}  {code:<15}{REASONS[code]}")
        for number in [n for n in dropped if code in reasons[n]][:SHOWN]:
            click.echo(f"{'':9}" + escape_text(f"{described[number].name}: {captions[number][:90]}"))
    if moved := [one for one in balance.shares if abs(one.after - one.before) >= MOVED]:
        click.echo(f"{'captions with':<22}{'before':>8}{'after':>8}{'weighted':>10}")
        for one in moved:
            click.echo(f"{one.name:<22}{one.before:>8.1%}{one.after:>8.1%}{one.weighted:>10.1%}")
    click.echo(
        f"{len(dataset):,} pictures: {len(dataset) - len(described):,} without a caption, {len(dropped):,} captions "
        f"by a machine, {len(kept):,} left; with the weights they count as {balance.effective:,.0f}"
    )
    if written is not None:
        click.echo(str(written))


def read_groups(path: Path) -> dict[str, tuple[str, ...]]:
    """Return words by the name of their group; SumiError where a file does not hold that."""
    from sumi.data.captions import parse_json, read_text

    values = parse_json(read_text(path), str(path))
    for name, words in values.items():
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise SumiError(f'{path}: {name!r} should be a list of words, as in {{"people": ["woman", "man"]}}')
    return {name: tuple(word.casefold() for word in words) for name, words in values.items()}
