"""Folders as diffusers saves them: a model_index.json, and one folder a part.

    model_index.json  {"_class_name": pipeline, part: [library, class], ...}

A folder is one of the systems below or it is refused: a part that is missing, of another class, or of a size that does
not fit its neighbour's is named with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from sumi.bundles.json_file import read_object
from sumi.bundles.published.networks import PublishedPart, open_part
from sumi.bundles.published.weights import inside
from sumi.errors import SumiError

INDEX: Final = "model_index.json"
LIBRARIES: Final = frozenset({"diffusers", "transformers", "unclip", "stable_diffusion", "stable_unclip"})
"""Libraries that folders name; the last three are packages within diffusers, as older versions wrote them."""
Config = Mapping[str, Any]
Agreement = tuple[str, Callable[[Mapping[str, Config]], int], str, Callable[[Mapping[str, Config]], int]]
"""What must be equal: a text and a number of one part, and of another."""


@dataclass(frozen=True)
class FolderSystem:
    """A published system as a folder: its pipelines' names, its parts, and where their sizes must agree.

    parts: the class of each network it needs. optional: networks that may be there. others: tokenizers, schedulers and
    image processors it needs.
    """

    name: str
    title: str
    pipelines: tuple[str, ...]
    parts: Mapping[str, str]
    others: tuple[str, ...]
    agreements: tuple[Agreement, ...] = ()
    optional: Mapping[str, str] = field(default_factory=dict)


def of(part: str, key: str, index: int | None = None, times: int = 1) -> Callable[[Mapping[str, Config]], int]:
    """Return what reads a number out of the configurations."""

    def number(configs: Mapping[str, Config]) -> int:
        value = configs[part][key]
        return times * int(value if index is None else value[index])

    return number


def agree(part: str, key: str, other: str, other_key: str, index: int | None = None, times: int = 1) -> Agreement:
    """Return the rule that part.key equals other.other_key, or `times` item `index` of it."""
    factor = f"{times} x " if times != 1 else ""
    item = "" if index is None else f"[{index}]"
    return f"{part}.{key}", of(part, key), f"{factor}{other}.{other_key}{item}", of(other, other_key, index, times)


SAFETY: Final = {"safety_checker": "StableDiffusionSafetyChecker", "image_encoder": "CLIPVisionModelWithProjection"}
KARLO_DECODER: Final = {
    "decoder": "UNet2DConditionModel", "text_proj": "UnCLIPTextProjModel",
    "text_encoder": "CLIPTextModelWithProjection", "super_res_first": "UNet2DModel", "super_res_last": "UNet2DModel",
}  # fmt: skip
KARLO_AGREEMENTS: Final = (
    agree("text_proj", "clip_embeddings_dim", "text_encoder", "projection_dim"),
    agree("text_proj", "cross_attention_dim", "decoder", "cross_attention_dim"),
    agree("text_proj", "time_embed_dim", "decoder", "block_out_channels", 0, 4),
    agree("super_res_last", "in_channels", "super_res_first", "in_channels"),
)
LATENT: Final = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
LATENT_AGREEMENTS: Final = (
    agree("unet", "cross_attention_dim", "text_encoder", "hidden_size"),
    agree("unet", "out_channels", "vae", "latent_channels"),
)
NOISED: Final = agree("unet", "projection_class_embeddings_input_dim", "image_normalizer", "embedding_dim", None, 2)

SYSTEMS: Final = (
    FolderSystem(
        "karlo", "unCLIP (karlo)", ("UnCLIPPipeline",), KARLO_DECODER | {"prior": "PriorTransformer"},
        ("tokenizer", "prior_scheduler", "decoder_scheduler", "super_res_scheduler"),
        (agree("prior", "embedding_dim", "text_encoder", "projection_dim"), *KARLO_AGREEMENTS),
    ),
    FolderSystem(
        "karlo-image-variation", "unCLIP (karlo), image variations", ("UnCLIPImageVariationPipeline",),
        KARLO_DECODER | {"image_encoder": "CLIPVisionModelWithProjection"},
        ("tokenizer", "feature_extractor", "decoder_scheduler", "super_res_scheduler"),
        (agree("image_encoder", "projection_dim", "text_encoder", "projection_dim"), *KARLO_AGREEMENTS),
    ),
    FolderSystem(
        "stable-diffusion", "Stable Diffusion 1.x or 2.x",
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        LATENT, ("tokenizer", "scheduler"), LATENT_AGREEMENTS, SAFETY,
    ),
    FolderSystem(
        "stable-diffusion-xl", "Stable Diffusion XL base",
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
        LATENT | {"text_encoder_2": "CLIPTextModelWithProjection"}, ("tokenizer", "tokenizer_2", "scheduler"),
        (
            ("unet.cross_attention_dim", of("unet", "cross_attention_dim"),
             "text_encoder.hidden_size + text_encoder_2.hidden_size",
             lambda c: int(c["text_encoder"]["hidden_size"]) + int(c["text_encoder_2"]["hidden_size"])),
            agree("unet", "out_channels", "vae", "latent_channels"),
        ),
        {"image_encoder": "CLIPVisionModelWithProjection"},
    ),
    FolderSystem(
        "stable-unclip-image", "Stable unCLIP 2.1", ("StableUnCLIPImg2ImgPipeline",),
        LATENT | {"image_encoder": "CLIPVisionModelWithProjection", "image_normalizer": "StableUnCLIPImageNormalizer"},
        ("tokenizer", "scheduler", "feature_extractor", "image_noising_scheduler"),
        (*LATENT_AGREEMENTS, NOISED, agree("image_normalizer", "embedding_dim", "image_encoder", "projection_dim")),
    ),
    FolderSystem(
        "stable-unclip", "Stable unCLIP 2.1 small, with karlo's prior", ("StableUnCLIPPipeline",),
        LATENT | {
            "prior": "PriorTransformer", "prior_text_encoder": "CLIPTextModelWithProjection",
            "image_normalizer": "StableUnCLIPImageNormalizer",
        },
        ("tokenizer", "scheduler", "prior_tokenizer", "prior_scheduler", "image_noising_scheduler"),
        (
            *LATENT_AGREEMENTS, NOISED, agree("prior", "embedding_dim", "prior_text_encoder", "projection_dim"),
            agree("image_normalizer", "embedding_dim", "prior", "embedding_dim"),
        ),
    ),
    FolderSystem(
        "kandinsky-prior", "Kandinsky 2.2, prior", ("KandinskyV22PriorPipeline",),
        {
            "prior": "PriorTransformer", "image_encoder": "CLIPVisionModelWithProjection",
            "text_encoder": "CLIPTextModelWithProjection",
        },
        ("tokenizer", "scheduler", "image_processor"),
        (
            agree("prior", "embedding_dim", "text_encoder", "projection_dim"),
            agree("prior", "embedding_dim", "image_encoder", "projection_dim"),
        ),
    ),
    FolderSystem(
        "kandinsky-decoder", "Kandinsky 2.2, decoder",
        ("KandinskyV22Pipeline", "KandinskyV22Img2ImgPipeline", "KandinskyV22InpaintPipeline"),
        {"unet": "UNet2DConditionModel", "movq": "VQModel"}, ("scheduler",),
    ),
)  # fmt: skip


class OpenedFolder(NamedTuple):
    """What a folder holds.

    schedulers, processors: configurations by name. tokenizers: folders by name. settings: of the pipeline itself.
    """

    system: FolderSystem
    parts: dict[str, PublishedPart]
    schedulers: dict[str, Config]
    processors: dict[str, Config]
    tokenizers: dict[str, Path]
    settings: dict[str, Any]


def open_folder(path: Path) -> OpenedFolder:
    """Return what a folder holds; SumiError says what does not fit."""
    index = read_object(inside(path, path / INDEX))
    system = system_of(index.get("_class_name"), path)
    rows = {name: pair_of(row, name, path) for name, row in index.items() if is_part(name, row)}
    parts = {}
    for name, wanted in {**system.parts, **system.optional}.items():
        if name not in rows:
            if name in system.parts:
                raise SumiError(f"{path / INDEX} names no {name}, and {system.title} needs a {wanted} there")
            continue
        if rows[name][1] != wanted:
            found = rows[name][1][:60]
            raise SumiError(f"{path / INDEX}: {name} is a {found!r}, and {system.title} needs a {wanted} there")
        parts[name] = open_part(path, path / name, name, wanted)
    others = {}
    for name in system.others:
        if name not in rows:
            raise SumiError(f"{path / INDEX} names no {name}, and {system.title} needs one")
        others[name] = open_other(path, name, rows[name][1])
    configs = {name: part.config for name, part in parts.items()}
    for what, number, other, expected in system.agreements:
        if read_number(number, configs, path) != read_number(expected, configs, path):
            raise SumiError(f"the parts of {path} do not fit: {what} is {number(configs)}, {other} {expected(configs)}")
    named = {
        kind: [name for name in others if name.split("_2")[0].endswith(kind)] for kind in ("scheduler", "tokenizer")
    }
    processors = others.keys() - {*named["scheduler"], *named["tokenizer"]}
    return OpenedFolder(
        system,
        parts,
        {name: others[name] for name in named["scheduler"]},
        {name: others[name] for name in processors},
        {name: path / name for name in named["tokenizer"]},
        {name: row for name, row in index.items() if not name.startswith("_") and not isinstance(row, list)},
    )


def system_of(pipeline: Any, path: Path) -> FolderSystem:
    """Return the system that a pipeline's name stands for."""
    for system in SYSTEMS:
        if pipeline in system.pipelines:
            return system
    known = ", ".join(system.pipelines[0] for system in SYSTEMS)
    raise SumiError(f"{path / INDEX} names the pipeline {str(pipeline)[:60]!r}; known are {known}")


def is_part(name: str, row: Any) -> bool:
    """Whether an entry of the index is a part that is there: settings begin with _ or are no lists, absent is null."""
    return not name.startswith("_") and isinstance(row, list) and row != [None, None]


def pair_of(row: list[Any], name: str, path: Path) -> tuple[str, str]:
    """Return (library, class) of an entry; SumiError for any other form, or a library of one's own."""
    if len(row) != 2 or not all(isinstance(item, str) for item in row):
        raise SumiError(f"{path / INDEX}: {name[:60]!r} should be [library, class]")
    if row[0] not in LIBRARIES:
        known = ", ".join(sorted(LIBRARIES))
        raise SumiError(
            f"{path / INDEX}: {name[:60]!r} is of the library {row[0][:60]!r}, which is not imported; known are {known}"
        )
    return row[0], row[1]


def open_other(path: Path, name: str, kind: str) -> Config:
    """Return the configuration of a scheduler or image processor; of a tokenizer only see that its files are there."""
    folder = path / name
    if kind.endswith("Scheduler"):
        return {"_class_name": kind, **read_object(inside(path, folder / "scheduler_config.json"), infinities=True)}
    if kind.startswith(("CLIPImageProcessor", "CLIPFeatureExtractor")):
        return read_object(inside(path, folder / "preprocessor_config.json"))
    if not kind.startswith("CLIPTokenizer"):
        raise SumiError(
            f"{path / INDEX}: {name} is a {kind[:60]!r}; a tokenizer, scheduler or image processor is expected"
        )
    present = {file for file in ("tokenizer.json", "vocab.json", "merges.txt") if inside(path, folder / file).is_file()}
    if "tokenizer.json" not in present and present != {"vocab.json", "merges.txt"}:
        raise SumiError(f"{folder} holds no tokenizer: expected tokenizer.json, or vocab.json and merges.txt")
    return {}


def read_number(number: Callable[[Mapping[str, Config]], int], configs: Mapping[str, Config], path: Path) -> int:
    """Return a number of the configurations; SumiError where a part lacks it."""
    try:
        return number(configs)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SumiError(f"a config.json in {path} lacks or mistypes {str(error)[:60]}") from None
