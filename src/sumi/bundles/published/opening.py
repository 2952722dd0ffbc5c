"""A published model opened: a folder of diffusers, a single file, or the files that its authors published together.

karlo is three checkpoints with CLIP and its statistics; GLIDE is a base and an upsampler; OpenAI's discrete VAE is an
encoder and a decoder. Such files are told apart by their tensors, not by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from torch import Tensor

from sumi.bundles.published.dalle2_prior import read_settings
from sumi.bundles.published.folders import INDEX, open_folder
from sumi.bundles.published.model import (
    GLIDE_CHANNELS,
    SCHEDULERS,
    STATISTICS,
    PublishedModel,
    karlo_clip,
    make_parts,
    read_parts,
)
from sumi.bundles.published.model_flags import published_flags
from sumi.bundles.published.networks import PublishedPart
from sumi.bundles.published.originals import OriginalLayout, recognise
from sumi.bundles.published.tokenizer_files import find_bpe
from sumi.bundles.published.weights import WEIGHT_SUFFIXES, Weights, open_weights
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

KARLO_FILES: Final = ("karlo-prior", "karlo-decoder", "karlo-super-resolution", "clip-statistics", "clip")
GLIDE_LAYOUTS: Final = {"glide", "glide-clip-image", "glide-clip-text"}
"""What lies in one folder where GLIDE was downloaded; its noised CLIP is not needed to draw."""
DALLE2_PRIOR: Final = "dalle2-pytorch-prior"


class JoinedWeights:
    """Weights of several files as one, the further ones behind a prefix each."""

    def __init__(self, first: Weights, further: Mapping[str, Weights]) -> None:
        self.path = first.path
        self._sources = {name: (first, name) for name in first.entries}
        for prefix, weights in further.items():
            self._sources |= {prefix + name: (weights, name) for name in weights.entries}
        self.entries: dict[str, Entry] = {key: of.entries[name] for key, (of, name) in self._sources.items()}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor."""
        weights, stored = self._sources[name]
        return weights.tensor(stored)


class OriginalFile(NamedTuple):
    """One file as its authors published it, and the layout that its tensors show."""

    path: Path
    layout: OriginalLayout
    weights: Weights


def open_model(path: str | Path) -> PublishedModel:
    """Open a published model; headers and configurations are read, tensors are not.

    Args:
        path: a folder of diffusers; a single file; a folder of the original files of karlo, GLIDE or the discrete VAE.

    Raises:
        SumiError: one line for what is missing, damaged, unsafe, unknown, or of parts that do not fit.
    """
    path = Path(path)
    if (path / INDEX).is_file():
        system, parts, schedulers, processors, tokenizers, settings = open_folder(path)
        return PublishedModel(path, system.name, system.title, parts, schedulers, processors, tokenizers, settings)
    if path.is_dir():
        return open_original_files(path)
    if not path.is_file():
        raise SumiError(f"there is no file or folder {str(path)!r}")
    file = open_original_file(path, path.parent)
    if file.layout.name == "glide":
        return open_glide(path, [file, *glide_upsampler_beside(file)])
    if file.layout.name == "dalle-dvae":
        raise SumiError(f"{path} is one half of {file.layout.title}: give the folder that holds encoder and decoder")
    if file.layout.name == DALLE2_PRIOR:
        return open_dalle2_prior(path, file)
    parts = read_parts(file.layout, file.weights)
    settings = guided_settings(file) if file.layout.name == "guided-diffusion" else {}
    known = SCHEDULERS.get(file.layout.name, {})
    return PublishedModel(path, file.layout.name, file.layout.title, parts, known, settings=settings)


def guided_settings(file: OriginalFile) -> dict[str, Any]:
    """Return what is known of a guided-diffusion network beside its shapes; SumiError for one that enlarges."""
    if (channels := file.weights.entries["input_blocks.0.0.weight"].shape[1]) != 3:
        raise SumiError(
            f"{file.path} is a guided-diffusion network of {channels} channels, for enlarging: it cannot run"
        )
    flags = published_flags(file.weights.entries)
    return {} if flags is None else {"noise_schedule": flags.noise_schedule}


def open_original_file(path: Path, root: Path) -> OriginalFile:
    """Open one file and say what it is; it may not lie outside of `root`."""
    weights = open_weights(path, root)
    return OriginalFile(path, recognise(weights.entries, str(path)), weights)


def open_original_files(path: Path) -> PublishedModel:
    """Open the files of one system in one folder; SumiError for those of several, or for one that is there twice."""
    files = [open_original_file(file, path) for file in sorted(path.iterdir()) if file.suffix in WEIGHT_SUFFIXES]
    layouts = {file.layout.name for file in files}
    if layouts and layouts <= GLIDE_LAYOUTS:
        return open_glide(path, [file for file in files if file.layout.name == "glide"])
    if layouts == {"dalle-dvae"}:
        return open_dvae(path, files)
    if layouts == {DALLE2_PRIOR}:
        return open_dalle2_prior(path, by_kind(path, [(DALLE2_PRIOR, file) for file in files])[DALLE2_PRIOR])
    if len(layouts) > 1 and not layouts <= set(KARLO_FILES):
        raise SumiError(f"the files in {path} are no system together: they are {', '.join(sorted(layouts))}")
    return open_karlo(path, by_kind(path, [(file.layout.name, file) for file in files]))


def open_dalle2_prior(path: Path, file: OriginalFile) -> PublishedModel:
    """Open a diffusion prior of DALLE2-pytorch, and the configuration beside it where there is one."""
    parts = read_parts(file.layout, file.weights)
    settings = read_settings(file.weights, parts["prior"].config)
    return PublishedModel(path, file.layout.name, file.layout.title, parts, {}, settings=settings)


def by_kind(path: Path, files: Iterable[tuple[str, OriginalFile]]) -> dict[str, OriginalFile]:
    """Return files by what they are; SumiError where two are the same."""
    found: dict[str, OriginalFile] = {}
    for kind, file in files:
        if kind in found:
            names = f"{found[kind].path.name} and {file.path.name}"
            raise SumiError(f"{path} holds {file.layout.title} twice, in {names}: leave the one that is meant")
        found[kind] = file
    return found


def open_karlo(path: Path, files: Mapping[str, OriginalFile]) -> PublishedModel:
    """Open karlo's original files: three checkpoints, the statistics of CLIP, and CLIP itself."""
    missing = [name for name in KARLO_FILES if name not in files]
    if missing:
        raise SumiError(
            f"{path} is no model: it has no {INDEX}, and of karlo's original files it lacks {', '.join(missing)}"
        )
    prior = JoinedWeights(files["karlo-prior"].weights, {STATISTICS: files["clip-statistics"].weights})
    parts = read_parts(files["karlo-prior"].layout, prior)
    for name in ("karlo-decoder", "karlo-super-resolution"):
        parts |= read_parts(files[name].layout, files[name].weights)
    clip = files["clip"]
    parts |= make_parts(karlo_clip(clip.weights.entries), clip.weights, (*clip.layout.ignored, "logit_scale"))
    return PublishedModel(path, "karlo", "unCLIP (karlo), original files", parts, SCHEDULERS["karlo"])


def open_glide(path: Path, files: Sequence[OriginalFile]) -> PublishedModel:
    """Open a base network of GLIDE and the upsampler that was trained with it, if that is there.

    Where a folder holds the networks for inpainting too, the others are taken: name the file of the base to take those.
    """
    parts_of = {file.path: read_parts(file.layout, file.weights) for file in files}
    kinds = by_kind(path, [(network_kind(parts_of[file.path]), file) for file in files])
    inpaints = "base" not in kinds
    base = kinds.get("base inpaint" if inpaints else "base")
    if base is None:
        raise SumiError(f"{path} holds GLIDE's upsampler without its base: give the file or the folder of that")
    upsampler = kinds.get("upsampler inpaint" if inpaints else "upsampler")
    other = kinds.get("upsampler" if inpaints else "upsampler inpaint")
    if upsampler is None and other is not None and len(kinds) == 2:
        meant, found = ("for inpainting", "not") if inpaints else ("not for inpainting", "is")
        raise SumiError(f"{base.path.name} in {path} is {meant}, and {other.path.name} beside it {found}")
    parts = parts_of[base.path] | ({} if upsampler is None else parts_of[upsampler.path])
    title = "GLIDE for inpainting" if inpaints else "GLIDE"
    folder = base.path.parent
    tokenizers = {"tokenizer": folder} if find_bpe(folder) else {}
    return PublishedModel(path, "glide", title, parts, {}, tokenizers=tokenizers)


def network_kind(parts: Mapping[str, PublishedPart]) -> str:
    """Return which of GLIDE's four networks a file holds."""
    unet = next(part for part in parts.values() if part.kind == "UNet2DConditionModel")
    return GLIDE_CHANNELS[unet.config["in_channels"]]


def glide_upsampler_beside(base: OriginalFile) -> list[OriginalFile]:
    """Return the upsampler that lies beside a base under its published name: upsample.pt for base.pt."""
    beside = base.path.with_name(base.path.name.replace("base", "upsample"))
    return [open_original_file(beside, beside.parent)] if beside != base.path and beside.is_file() else []


def open_dvae(path: Path, files: Sequence[OriginalFile]) -> PublishedModel:
    """Open both halves of OpenAI's discrete VAE."""
    parts: dict[str, PublishedPart] = {}
    halves = by_kind(path, [(str(file.layout.facts(file.weights.entries)["network"]), file) for file in files])
    if missing := [half for half in ("encoder", "decoder") if half not in halves]:
        raise SumiError(f"{path} holds one half of OpenAI's discrete VAE, and lacks the {missing[0]}")
    for file in halves.values():
        parts |= read_parts(file.layout, file.weights)
    encoded, decoded = (parts[half].config["vocab_size"] for half in ("encoder", "decoder"))
    if encoded != decoded:
        raise SumiError(f"the halves in {path} do not fit: one writes {encoded} tokens, the other reads {decoded}")
    return PublishedModel(path, "dalle-dvae", "OpenAI's discrete VAE", parts, {})
