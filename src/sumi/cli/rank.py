"""`sumi rank`: which pictures fit a prompt best, by CLIP."""

from __future__ import annotations

import json

import click

from sumi.cli.options import json_option, model_option


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--prompt", required=True, metavar="TEXT", help="What the pictures should show.")
@model_option
@json_option
def rank(images: tuple[str, ...], prompt: str, model: str | None, as_json: bool) -> None:
    """Order IMAGES by how well they fit a prompt, the best first."""
    from sumi.pipelines.request import Request

    Request(prompt)
    import sumi
    from sumi.cli.screen import Screen
    from sumi.imaging.image_file import open_image

    opened = [open_image(path) for path in images]
    with Screen("comparing"):
        artist = sumi.load(model)
        scores = artist.rank(opened, prompt)
    ranked = sorted(zip(images, scores, strict=True), key=lambda pair: -pair[1])
    if as_json:
        rows = [{"path": path, "score": round(score, 6)} for path, score in ranked]
        click.echo(json.dumps({"images": rows, "prompt": prompt, "model": artist.model.name}))
        return
    for path, score in ranked:
        click.echo(f"{score:+.4f}  {path}")
