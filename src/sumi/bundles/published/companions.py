"""Models whose parts are published apart, put together: a file and its tokenizer, a decoder and its prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from sumi.bundles.published.dalle2_prior import OPENAI_CLIP, PRIOR_CONFIG, DALLE2PriorConfig
from sumi.bundles.published.folders import INDEX
from sumi.bundles.published.model import LATENT_BETAS, PublishedModel, guided_diffusion, make_parts
from sumi.bundles.published.model_flags import read_flags
from sumi.bundles.published.opening import DALLE2_PRIOR, open_model
from sumi.bundles.published.tokenizer_files import CLIP_FILES, find_bpe
from sumi.errors import SumiError

END, ZERO = "<|endoftext|>", "!"
PAD_TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "stable-diffusion-1": {"tokenizer": END},
    "stable-diffusion-2": {"tokenizer": ZERO},
    "stable-diffusion-xl": {"tokenizer": END, "tokenizer_2": ZERO},
    "karlo": {"tokenizer": ZERO},
}
"""The tokenizers of models in single files, and what fills a text in each: the end again, or the id 0."""
PREDICTIONS: Final[Mapping[str, int]] = {"epsilon": 64, "v_prediction": 96}
"""What the networks of Stable Diffusion 2.x predict, with the side of the latents that they were trained on."""
DECODER, PRIOR, GLIDE, GUIDED = "kandinsky-decoder", "kandinsky-prior", "glide", "guided-diffusion"
KARLO: Final = "karlo"
KARLO_CLIP: Final = "ViT-L-14"
"""The CLIP by OpenAI whose embeddings karlo's decoder hears."""


def with_tokenizer(opened: PublishedModel, folder: Path) -> PublishedModel:
    """Return a model of single files with the tokenizer of another folder; SumiError where that has none.

    Args:
        opened: the model.
        folder: the files of the tokenizer or one of them, or a model that has a folder `tokenizer`.
    """
    folder = folder.parent if folder.is_file() else folder
    if opened.name == GLIDE:
        found = [place for place in (folder, folder / "tokenizer") if find_bpe(place) is not None]
        if not found:
            raise SumiError(f"{folder} holds no tokenizer of GLIDE's: expected encoder.json and vocab.bpe, or GPT-2's")
        return replace(opened, tokenizers={"tokenizer": found[0]})
    if opened.tokenizers or opened.name not in PAD_TOKENS:
        raise SumiError(f"{opened.path} needs no further tokenizer: only a single file does")
    places = [place for place in (folder, folder / "tokenizer") if any((place / f).is_file() for f in CLIP_FILES)]
    if not places:
        raise SumiError(f"{folder} holds no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")
    pads = PAD_TOKENS[opened.name]
    return replace(opened, tokenizers=dict.fromkeys(pads, places[0]), pad_tokens=pads)


def with_prediction(opened: PublishedModel, prediction: str) -> PublishedModel:
    """Return a single file of Stable Diffusion 2.x with what its network predicts; SumiError for any other model.

    Args:
        opened: the model.
        prediction: epsilon, which the base models of 512 px predict, or v_prediction, as those of 768 px do.
    """
    if prediction not in PREDICTIONS:
        raise SumiError(f"unknown prediction {prediction!r:.40}: choose one of {', '.join(PREDICTIONS)}")
    if opened.name != "stable-diffusion-2":
        raise SumiError(f"{opened.path} says itself what its network predicts")
    scheduler = {"_class_name": "DDIMScheduler", **LATENT_BETAS, "prediction_type": prediction}
    unet = opened.parts["unet"]
    sized = replace(unet, config={**unet.config, "sample_size": PREDICTIONS[prediction]})
    return replace(opened, parts={**opened.parts, "unet": sized}, schedulers={"scheduler": scheduler})


def with_flags(opened: PublishedModel, flags: str) -> PublishedModel:
    """Return a network of guided-diffusion read with the flags of its training; SumiError for any other model.

    Args:
        opened: the model.
        flags: as its authors' scripts take them: "--num_head_channels 64 --noise_schedule cosine".
    """
    if opened.name != GUIDED:
        raise SumiError(f"{opened.path} is {opened.title}, which has no flags of guided-diffusion")
    weights = opened.parts["unet"].weights
    read = read_flags(flags, weights.entries)
    try:
        parts = make_parts(guided_diffusion(weights.entries, read), weights, ())
    except ValueError as error:
        raise SumiError(f"the flags {flags[:200]!r} do not fit {opened.path}: {error}") from None
    return replace(opened, parts=parts, settings={"noise_schedule": read.noise_schedule})


def with_prior(opened: PublishedModel, folder: Path | None) -> PublishedModel:
    """Return a decoder with the prior that draws for it; any other model as it is. SumiError where they do not fit.

    Args:
        opened: the model: Kandinsky's decoder, whose prior is always a folder of its own, or karlo.
        folder: of the prior; by default the one that is called as Kandinsky's decoder, with prior for decoder. For
            karlo a prior of DALLE2-pytorch, a file or its folder, takes the place of karlo's own.
    """
    if opened.name == PRIOR:
        raise SumiError(
            f"{opened.path} holds Kandinsky's prior alone: open its decoder, and give this with --prior-model"
        )
    if opened.name == DALLE2_PRIOR:
        raise SumiError(
            f"{opened.path} holds a prior alone, which draws embeddings and no pictures: open karlo, whose decoder "
            "hears those of the same CLIP, and give this with --prior-model"
        )
    if opened.name == KARLO and folder is not None:
        return with_dalle2_prior(opened, open_model(folder))
    if opened.name != DECODER:
        if folder is not None:
            raise SumiError(f"{opened.path} is {opened.title}, whose prior is no folder of its own")
        return opened
    return with_kandinsky_prior(opened, folder)


def with_kandinsky_prior(opened: PublishedModel, folder: Path | None) -> PublishedModel:
    """Return Kandinsky's decoder with its prior, by default the one beside it."""
    beside = opened.path.resolve().with_name(opened.path.resolve().name.replace("decoder", "prior"))
    if folder is None and (beside == opened.path.resolve() or not (beside / INDEX).is_file()):
        raise SumiError(
            f"{opened.path} holds Kandinsky's decoder alone: give the folder of its prior with --prior-model DIR "
            "(prior_model= in Python)"
        )
    prior = open_model(beside if folder is None else folder)
    if prior.name != PRIOR:
        raise SumiError(f"{prior.path} is {prior.title}, and the prior of Kandinsky 2.2 is needed there")
    drawn, heard = prior.parts["prior"].config["embedding_dim"], opened.parts["unet"].config.get("encoder_hid_dim")
    if drawn != heard:
        raise SumiError(f"the prior in {prior.path} draws embeddings of {drawn}, and {opened.path} hears {heard}")
    return replace(
        opened,
        name="kandinsky",
        title="Kandinsky 2.2",
        parts={**prior.parts, **opened.parts},
        schedulers={**opened.schedulers, "prior_scheduler": prior.schedulers["scheduler"]},
        processors=prior.processors,
        tokenizers=prior.tokenizers,
    )


def with_dalle2_prior(opened: PublishedModel, prior: PublishedModel) -> PublishedModel:
    """Return karlo with a prior of DALLE2-pytorch in place of its own; SumiError where that draws for another CLIP."""
    if prior.name != DALLE2_PRIOR:
        raise SumiError(f"{prior.path} is {prior.title}, and a prior of DALLE2-pytorch is what karlo takes for its own")
    if "config" not in prior.settings:
        raise SumiError(
            f"{prior.path} does not say how it samples or of which CLIP it is: put the {PRIOR_CONFIG} that is "
            "published with it beside the file"
        )
    config: DALLE2PriorConfig = prior.settings["config"]
    drawn, tower = prior.parts["prior"].config["dim"], opened.parts["text_encoder"].config
    if drawn != tower["projection_dim"]:
        heard = tower["projection_dim"]
        raise SumiError(f"the prior in {prior.path} draws embeddings of {drawn}, and {opened.path} hears {heard}")
    if config.condition_on_text_encodings and drawn != tower["hidden_size"]:
        wide = tower["hidden_size"]
        raise SumiError(
            f"the prior in {prior.path} reads words of {drawn} features, and {opened.path} has them of {wide}"
        )
    clip = config.clip or {}
    make, model = clip.get("make"), str(clip.get("model", KARLO_CLIP)).replace("/", "-")
    if make not in OPENAI_CLIP or model != KARLO_CLIP:
        raise SumiError(
            f"the prior in {prior.path} draws embeddings of the CLIP {model[:40]} by {make!s:.40}, and {opened.path} "
            f"hears those of {KARLO_CLIP} by openai"
        )
    how = {**prior.settings, "length": usual_length(opened)}
    return replace(
        opened,
        title=f"{opened.title} with a prior of DALLE2-pytorch",
        parts={**opened.parts, "prior": prior.parts["prior"]},
        settings={**opened.settings, "prior": how},
    )


def usual_length(opened: PublishedModel) -> float:
    """Return the root mean square of the lengths of CLIP's embeddings, by the statistics in karlo's own prior."""
    own = opened.parts["prior"]
    moves = {move.target: move for move in own.table}
    mean, std = (
        moves[name].transform(*(own.weights.tensor(source) for source in moves[name].sources)).double()
        for name in ("clip_mean", "clip_std")
    )
    length = float((mean.square() + std.square()).sum().sqrt())
    if not 0 < length < float("inf"):
        raise SumiError(
            f"{opened.path} does not say how long CLIP's embeddings are: its clip_mean and clip_std are empty"
        )
    return length
