"""The flags of guided-diffusion: those of published shapes are known, any other's are given, checked and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity.originals import write_guided

import sumi
from sumi import SumiError
from sumi.bundles.published import open_model, with_flags
from sumi.bundles.published.model_flags import published_flags
from sumi.bundles.tensors import Entry


def entries(levels: int, layers: int, channels: int, finest: int, classes: bool) -> dict[str, Entry]:
    """The tensors that flags are read off, of a network of those sizes."""
    shapes: dict[str, tuple[int, ...]] = {
        "time_embed.0.weight": (4 * channels, channels), "out.2.weight": (6, finest, 3, 3),
        "input_blocks.1.0.in_layers.2.weight": (finest, finest, 3, 3),
        "input_blocks.1.0.emb_layers.1.weight": (2 * finest, 4 * channels),
    }  # fmt: skip
    shapes |= {f"output_blocks.{n}.0.in_layers.2.weight": (8, 8, 3, 3) for n in range(levels * (layers + 1))}
    ends = [(level + 1) * (layers + 1) - 1 for level in range(levels - 1)]
    shapes |= {f"output_blocks.{n}.2.in_layers.2.weight": (8, 8, 3, 3) for n in ends}
    shapes |= {"label_emb.weight": (1000, 4 * channels)} if classes else {}
    return {name: Entry(torch.float16, shape, 0, 0) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("sizes", "head_width", "heads", "new_order", "noise", "size_px"),
    [
        ((4, 3, 192, 192, True), 64, None, True, "cosine", 64),
        ((5, 2, 256, 256, True), None, 4, False, "linear", 128),
        ((6, 2, 256, 256, True), 64, None, False, "linear", 256),
        ((6, 2, 256, 256, False), 64, None, False, "linear", 256),
        ((7, 2, 256, 128, True), 64, None, False, "linear", 512),
    ],
)
def test_published_networks_have_the_flags_of_their_authors_page(
    sizes: Any, head_width: Any, heads: Any, new_order: bool, noise: str, size_px: int
) -> None:
    flags = published_flags(entries(*sizes))
    assert flags is not None
    found = (flags.head_width, flags.heads, flags.new_order, flags.noise_schedule, flags.image_size)
    assert found == (head_width, heads, new_order, noise, size_px)


@pytest.mark.parametrize("sizes", [(4, 3, 192, 192, False), (6, 1, 256, 256, True), (3, 2, 128, 128, True)])
def test_networks_of_other_shapes_have_no_flags_until_they_are_given(sizes: Any) -> None:
    assert published_flags(entries(*sizes)) is None


def test_network_of_other_shapes_is_drawn_with_the_flags_that_are_given(tmp_path: Path) -> None:
    path = write_guided(tmp_path / "mine.pt", "new")
    with pytest.raises(SumiError, match="give the flags of its training, as --model-flags '--num_head_channels 64'"):
        sumi.load(path)
    flags = "--num_head_channels 64 --use_new_attention_order true --noise_schedule cosine"
    artist = sumi.load(path, model_flags=flags)
    assert artist.sizes == (16,) and artist.operations == ("generate", "img2img", "edit")
    (right,) = artist.generate("7", steps=3, seed=1)
    (other,) = sumi.load(path, model_flags="--num_head_channels 64").generate("7", steps=3, seed=1)
    assert right.image.tobytes() != other.image.tobytes(), "flags that no shape shows change the picture"


FAULTS = {
    "": ("--heads 4", "unknown flag '--heads'"),
    "a word": ("num_heads 4", "unknown flag 'num_heads'"),
    "no value": ("--num_heads", "--num_heads should be a whole number, not ''"),
    "a text for a number": ("--num_heads four", "--num_heads should be a whole number, not 'four'"),
    "a number for a choice": ("--class_cond 1", "--class_cond should be True or False, not '1'"),
    "an unknown chain": ("--noise_schedule sqrt", "--noise_schedule is one of linear, cosine, not 'sqrt'"),
    "another width": ("--num_channels 128", "--num_channels 128 is not that of the file, whose shapes say 64"),
    "no classes": ("--class_cond False", "--class_cond False is not that of the file, whose shapes say True"),
    "a chain of 4000": ("--diffusion_steps 4000", "--diffusion_steps 4000 is not supported: only 1000 is"),
    "predicts x": ("--predict_xstart True", "--predict_xstart True is not supported: only False is"),
    "no heads": ("--num_heads 0", "--num_heads should be a number of heads, not 0"),
    "heads that do not divide": ("--num_heads 7", "do not fit .*: 64 channels do not divide into heads"),
    "a width that does not divide": ("--num_head_channels 48", "do not fit .*: 64 channels do not divide into heads"),
    "an open quote": ("--num_heads '4", "cannot be read"),
    "a size of a million": ("--image_size 1000000", "--image_size should be 8 to 2048 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_flags_that_do_not_fit_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    flags, message = FAULTS[name]
    opened = open_model(write_guided(tmp_path / "mine.pt", "new"))
    with pytest.raises(SumiError, match=message) as caught:
        with_flags(opened, flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prompt", ["a cat", "10", "-1", "7.0"])
def test_prompt_that_is_no_class_is_refused_before_drawing(prompt: str, tmp_path: Path) -> None:
    artist = sumi.load(write_guided(tmp_path / "mine.pt", "legacy"), model_flags="--num_head_channels 64")
    with pytest.raises(SumiError, match="the prompt should be the number of a class, 0 to 9, not"):
        artist.stream(sumi.Request(prompt))
    with pytest.raises(SumiError, match="guided by a classifier alone"):
        artist.stream(sumi.Request("7", guidance=2.0))
    with pytest.raises(SumiError, match="ddim cannot take 600 steps"):
        artist.stream(sumi.Request("7", sampler="ddim", steps=600))


def test_network_without_classes_says_that_it_reads_no_prompt(tmp_path: Path) -> None:
    artist = sumi.load(write_guided(tmp_path / "mine.pt", "heads"), model_flags="--num_heads 4")
    assert artist.notes(sumi.Request("a bedroom"))[0].startswith("the prompt is not read")
    assert len(artist.generate("a bedroom", steps=1, seed=1)) == 1


def test_flags_are_for_guided_diffusion_alone(tmp_path: Path) -> None:
    from parity.originals import write_glide

    with pytest.raises(SumiError, match="is GLIDE, which has no flags of guided-diffusion"):
        sumi.load(write_glide(tmp_path, "base"), model_flags="--num_heads 4")
