"""`sumi data rights`: whose the pictures of a data set are, and which of them may be trained on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sumi.cli.data_check import engine_option, open_and_scan, pictures_argument
from sumi.cli.data_dedup import selection_option
from sumi.cli.options import json_option
from sumi.cli.streams import escape_text
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.curation.admission import TrainingRules

Command = TypeVar("Command", bound=Callable[..., Any])
SHOWN = 5


def rights_options(command: Command) -> Command:
    """Give a command the options that decide which pictures may be trained on."""
    for option in (
        click.option("--author", metavar="NAME", help="Author of the pictures that name no licence."),
        click.option(
            "--licence", "--license", "licence", metavar="TEXT",
            help='Licence of the pictures that name none, such as "own work" or CC-BY-4.0.',
        ),
        click.option(
            "--opt-out", "opt_outs", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
            help='A list of who does not want to be trained on, with lines such as "author: NAME"; repeatable.',
        ),
        click.option("--allow-unlicensed", is_flag=True, help="Train on pictures that name no licence as well."),
    ):  # fmt: skip
        command = option(command)
    return command


def declare(licence: str | None, author: str | None) -> dict[str, str]:
    """Return what is declared of pictures that name no licence; SumiError for an author without a licence."""
    if author and not licence:
        raise SumiError('--author goes with --licence, such as --licence "own work"')
    return {name: value for name, value in (("licence", licence), ("author", author)) if value}


def read_rules(
    allow_unlicensed: bool, opt_outs: tuple[Path, ...], licence: str | None, author: str | None
) -> TrainingRules:
    """Return the rules that `rights_options` give."""
    from sumi.curation.admission import TrainingRules
    from sumi.curation.picture_rights import read_opt_outs

    return TrainingRules(allow_unlicensed, read_opt_outs(opt_outs), declare(licence, author))


def settings_of_rights(
    allow_unlicensed: bool, opt_outs: tuple[Path, ...], licence: str | None, author: str | None
) -> dict[str, Any]:
    """Return what `rights_options` give as JSON values, for the record of a run."""
    return {
        "allow_unlicensed": allow_unlicensed,
        "opt_outs": [str(path.absolute()) for path in opt_outs],
        "licence": licence,
        "author": author,
    }


@click.command("rights")
@pictures_argument
@rights_options
@selection_option
@engine_option
@json_option
def data_rights(
    pictures: str, allow_unlicensed: bool, opt_outs: tuple[Path, ...], licence: str | None, author: str | None,
    out: Path | None, engine: str, as_json: bool,
) -> int:  # fmt: skip
    """Say whose PICTURES are, and which of them may be trained on.

    It reads lists and files beside pictures, and XMP, IPTC, EXIF and content credentials inside them. The status is 1
    where some may not be trained on.
    """
    from sumi.cli.screen import start_progress_bar
    from sumi.curation.picture_rights import STATUSES, count_rights, find_rights, may_train, read_opt_outs
    from sumi.curation.selection import check_destination, write_selection

    if out is not None:
        check_destination(out)
    listed, declared = read_opt_outs(opt_outs), declare(licence, author)
    dataset, scans = open_and_scan(pictures, engine)
    pairs = [(record, scan) for record, scan in zip(dataset, scans, strict=True) if not scan.fault]
    rights = [find_rights(record, scan, listed, declared) for record, scan in pairs]
    counted = count_rights([one.to_json() for one in rights])
    kept = [number for number, one in enumerate(rights) if may_train(one, allow_unlicensed)]
    written = None
    if out is not None:
        records = [pairs[number][0] for number in kept]
        rows = [{"license": rights[n].licence, "author": rights[n].author} for n in kept]
        rows = [{name: value for name, value in row.items() if value} for row in rows]
        written = write_selection(records, out, rows, partial(start_progress_bar(), "copying"))
    if as_json:
        click.echo(json.dumps({
            "place": dataset.place, "may_train": len(kept), "sources": counted,
            "pictures": [
                one.to_json() | {"sha256": scan.fingerprint.sha256, "phash": scan.fingerprint.phash}
                for one, (_, scan) in zip(rights, pairs, strict=True)
            ],
            "unreadable": [scan.name for scan in scans if scan.fault], "out": str(written) if written else None,
        }))  # fmt: skip
        return int(len(kept) < len(rights))
    for row in counted:
        by = f", {row['author']}" if row["author"] else ""
        source = f", from {row['source']}" if row["source"] else ""
        click.echo(f"{row['pictures']:>7,}  " + escape_text(f"{row['licence'] or 'no licence named'}{by}{source}"))
    counts = Counter(one.status for one in rights)
    for status in STATUSES[1:]:
        some = [one for one in rights if one.status == status]
        for one in some[:SHOWN]:
            click.echo(escape_text(f"{status}: {one.name}" + (f" ({one.reason})" if one.reason else "")))
        if len(some) > SHOWN:
            click.echo(f"{status}: and {len(some) - SHOWN:,} more, which --json names")
    told = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])
    click.echo(f"{len(rights):,} pictures: {told or 'none'}; {len(kept):,} may be trained on")
    if counts["unlicensed"] and not allow_unlicensed:
        click.echo('Are they yours? Say so with --licence "own work". --allow-unlicensed takes them as they are.')
    if written is not None:
        click.echo(str(written))
    return int(len(kept) < len(rights))
