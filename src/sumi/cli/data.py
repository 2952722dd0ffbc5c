"""`sumi data`: what a model is trained on.

The commands for pictures of one's own are in modules of their own, such as `data_check`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from sumi.cli.data_build import build
from sumi.cli.data_caption import caption
from sumi.cli.data_check import check
from sumi.cli.data_dedup import dedup
from sumi.cli.data_filter import filter_captions
from sumi.cli.data_rights import data_rights
from sumi.cli.options import OUT_HELP
from sumi.cli.suggestions import SuggestingGroup

artwork_option = click.option(
    "--artwork",
    type=click.Path(path_type=Path),
    default=Path("artwork"),
    show_default=True,
    help="Folder that `make artwork` filled.",
)


@click.group(cls=SuggestingGroup)
def data() -> None:
    """Look at what a model is trained on."""


for command in (check, dedup, filter_captions, caption, data_rights, build):
    data.add_command(command)


@data.command("artwork")
@artwork_option
@click.option("--art", "further", multiple=True, metavar="NAME", help="A further artist: openmoji or emojione-v1.")
@click.option("--npm", is_flag=True, help="Print only the packages to fetch, all of them where one is missing.")
def list_artwork(artwork: Path, further: tuple[str, ...], npm: bool) -> None:
    """List the icon sets that models are trained on, and what each holds."""
    from sumi.data.artwork import ARTISTS, find_missing_sets, load_artwork, select_sets
    from sumi.data.rights import attribution

    artists = (*ARTISTS, *further)
    chosen, missing = select_sets(artists), find_missing_sets(artwork, artists)
    if npm:  # npm removes what it is not told of, so it is told of all
        click.echo(" ".join(icons.npm for icons in chosen) if missing else "")
        return
    for icons in missing:
        click.echo(f"{icons.npm}: missing, fetch it with `make artwork`")
    if len(missing) < len(chosen):
        for row in attribution(art.rights for art in load_artwork(artwork, artists=artists)):
            click.echo(
                f"{row['source']} {row['version']}: {row['pictures']:,} drawings, {row['licence']}, {row['author']}"
            )


@data.command()
@artwork_option
@click.option("--preset", default="cpu", show_default=True, help="Preset that gives mix, vocabulary and augmentation.")
@click.option("--kind", default=None, help="Only scenes of one kind, such as pair or word.")
@click.option("--held-out", default=None, help="Only scenes with a held-out combination of this kind, such as colour.")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=64, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which scenes.")
@click.option("--size", "size_px", type=click.IntRange(16, 1024), default=128, show_default=True, help="Pixels a side.")
@click.option("--out", metavar="PATH", default="preview.png", show_default=True, help=f"{OUT_HELP}.")
def preview(
    artwork: Path,
    preset: str,
    kind: str | None,
    held_out: str | None,
    count: int,
    seed: int,
    size_px: int,
    out: str,
) -> None:
    """Write a contact sheet of training scenes with their captions."""
    from sumi.cli.files import find_destination
    from sumi.cli.screen import Screen, start_progress_bar
    from sumi.data.preview import save_preview
    from sumi.systems.sticker import presets
    from sumi.systems.sticker.train_sticker import StickerTraining

    chosen, place = presets.preset(preset), find_destination(out)
    training = StickerTraining(chosen, artwork, Path("runs"), progress=start_progress_bar())
    scenes = training.scenes(chosen.mix.only(kind) if kind else chosen.mix, seed)
    with Screen("drawing scenes"):
        path = place.file or place.folder / "preview.png"
        save_preview(scenes.held_out(held_out) if held_out else scenes, path, count, size_px=size_px)
    click.echo(str(path))


@data.command()
@click.option("--model", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of the model.")
@artwork_option
def drawings(model: Path, artwork: Path) -> None:
    """Write small copies of its training drawings into a model, as training does; `sumi nearest` shows them."""
    from sumi.bundles import Bundle
    from sumi.cli.screen import Screen, start_progress_bar
    from sumi.conditioning import CLIP
    from sumi.data.atlas import open_vocabulary
    from sumi.errors import SumiError
    from sumi.systems.sticker.drawings import drawings_of

    bundle = Bundle.load(model)
    clip = bundle.part("clip")
    if not isinstance(clip, CLIP):
        raise SumiError(f"{model} has no CLIP of Sumi's, which compares drawings")
    _, atlas = open_vocabulary(list(bundle.vocabulary["concepts"]), artwork, partial(start_progress_bar(), "atlas"))
    with Screen("embedding drawings"):
        kept = bundle.keep_drawings(drawings_of(atlas, clip))
    click.echo(str(kept))


@data.command()
@click.option(
    "--wordnet",
    type=click.Path(path_type=Path),
    default=Path("/usr/share/wordnet"),
    show_default=True,
    help="Folder of WordNet 3.0; Debian: wordnet-base.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default the table that ships with Sumi.")
@click.option("--relatives", is_flag=True, help="Write the list of `sumi exam unlisted` instead; it needs the artwork.")
@artwork_option
def wordnet(wordnet: Path, out: Path | None, relatives: bool, artwork: Path) -> None:
    """Build the table of English words that prompts are read with."""
    import sumi
    from sumi.atomic_file import write_atomic
    from sumi.data.artwork import load_artwork
    from sumi.data.vocabulary import Vocabulary
    from sumi.data.wordnet import WordNet, build, one_step_relatives

    if relatives:
        concepts = {concept.name: concept.words for concept in Vocabulary.wide(load_artwork(artwork))}
        rows = one_step_relatives(WordNet.read(wordnet), concepts)
        path = out or Path(sumi.__file__).parent / "evaluation" / "unlisted_words.tsv"
        click.echo(str(write_atomic(path, "".join(f"{word}\t{concept}\n" for word, concept in rows))))
        return
    path = out or Path(sumi.__file__).parent / "conditioning" / "english.tsv.gz"
    click.echo(str(build(wordnet, path)))
