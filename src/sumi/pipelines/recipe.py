"""Everything needed to make a picture again, and its place inside the PNG itself.

Two texts travel with a picture: `sumi`, our own JSON in plain ASCII, from which `replay` draws it again; and
`parameters`, which other tools display: the prompt, a `Negative prompt:` line, and a last line of settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sumi.errors import SumiError
from sumi.pipelines.pixels import open_image
from sumi.pipelines.prompt import clean
from sumi.pipelines.request import LARGEST_SEED, Request, check_integer, check_number

CHUNK, PARAMETERS = "sumi", "parameters"


@dataclass(frozen=True)
class Settings:
    """How one stage is run: which sampler, how many steps, and how much guidance when.

    guidance 1 is none; interval: the times t, of [0, 1] with 1 all noise, between which guidance acts.
    """

    sampler: str
    steps: int
    guidance: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not isinstance(self.sampler, str):
            raise SumiError(f"a stage's sampler should be a name, not {self.sampler!r}")
        if self.steps is None:
            raise SumiError("a stage's steps are missing")
        check_integer("steps", self.steps, 1, 1000)
        check_number("guidance", self.guidance, 0.0, 1000.0)
        if not isinstance(self.interval, tuple | list) or len(self.interval) != 2:
            raise SumiError(f"a guidance interval should be two times, not {self.interval!r}")
        for time in self.interval:
            check_number("each end of a guidance interval", time, 0.0, 1.0)
        if not self.interval[0] < self.interval[1]:
            raise SumiError(f"a guidance interval should rise, not run from {self.interval[0]} to {self.interval[1]}")
        object.__setattr__(self, "interval", tuple(self.interval))

    @classmethod
    def from_json(cls, values: Any) -> Settings:
        """Return the settings in a JSON object; SumiError for what is missing, unknown or out of range."""
        if not isinstance(values, Mapping):
            raise SumiError(f"a stage's settings should be a JSON object, not {values!r}")
        try:
            return cls(**values)
        except TypeError:
            names = [entry.name for entry in fields(cls)]
            raise SumiError(f"a stage's settings are {', '.join(names)}; found {', '.join(values) or 'none'}") from None


@dataclass(frozen=True)
class Recipe:
    """What a picture was made from.

    prompt, negative: as the person wrote them. stages: the settings of each stage that ran. hashes: sha256
    of each part's weights. score: how near CLIP found it.
    """

    prompt: str
    seed: int
    size: int
    stages: Mapping[str, Settings]
    model: str
    version: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    negative: str = ""
    background: str = "auto"
    score: float | None = None

    def request(self) -> Request:
        """Return the wish for this one picture; how the stages run is in `stages`."""
        return Request(self.prompt, self.negative, seed=self.seed, size=self.size, background=self.background)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Recipe:
        """Return the recipe that a JSON object holds; SumiError when it is not one."""
        try:
            stages = {str(name): Settings.from_json(row) for name, row in values["stages"].items()}
            hashes = {str(name): str(value) for name, value in values["hashes"].items()}
            texts = {name: values[name] for name in ("prompt", "negative", "background", "model", "version")}
            recipe = cls(**texts, seed=values["seed"], size=values["size"], stages=stages, hashes=hashes)
        except (AttributeError, KeyError, TypeError) as error:
            raise SumiError(f"this is not a recipe of Sumi's: {type(error).__name__} at {error}") from None
        if recipe.seed is None or recipe.size is None or not isinstance(recipe.model, str):
            raise SumiError("this is not a recipe of Sumi's: it needs a seed, a size and a model")
        check_integer("seed", recipe.seed, 0, LARGEST_SEED)
        recipe.request()
        return recipe

    def parameters(self) -> str:
        """Return the text that other tools show: prompt, negative prompt, and `Name: value` pairs."""
        main = self.stages["decoder"] if "decoder" in self.stages else next(iter(self.stages.values()))
        pairs = {
            "Steps": main.steps,
            "Sampler": main.sampler,
            "CFG scale": f"{main.guidance:g}",
            "Seed": self.seed,
            "Size": f"{self.size}x{self.size}",
            "Model hash": next(
                (self.hashes[name][:10] for name in ("decoder", *self.hashes) if name in self.hashes), ""
            ),
            "Model": self.model,
            "Version": f"sumi {self.version}",
        }
        last = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in pairs.items() if value != "")
        negative = clean(self.negative)
        return "\n".join(filter(None, [clean(self.prompt), negative and f"Negative prompt: {negative}", last]))


def write_png(file: IO[bytes], image: Image.Image, recipe: Recipe) -> None:
    """Write the picture with its recipe inside."""
    info = PngInfo()
    text = recipe.parameters()
    if text.isascii():
        info.add_text(PARAMETERS, text)
    else:
        info.add_itxt(PARAMETERS, text)
    info.add_text(CHUNK, json.dumps(recipe.to_json(), allow_nan=False))
    image.save(file, format="PNG", pnginfo=info)


def read_recipe(path: str | Path) -> tuple[Image.Image, Recipe]:
    """Return a picture of ours and what it was made from; SumiError when it is damaged or somebody else's."""
    image = open_image(path)
    text = image.info.get(CHUNK)
    if image.format not in (None, "PNG") or not isinstance(text, str):
        raise SumiError(f"{path} carries no recipe of Sumi's: only a PNG that Sumi wrote can be drawn again")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise SumiError(f"the recipe inside {path} is damaged") from None
    return image, Recipe.from_json(values)


def _quoted(value: str) -> str:
    return json.dumps(value) if any(sign in value for sign in ',:\n"') else value
