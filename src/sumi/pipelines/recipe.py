"""Recipes: everything needed to draw a picture again, stored inside its PNG.

Two texts travel with a picture: `sumi`, our own JSON in plain ASCII, from which `replay` draws it again; and
`parameters`, which other tools display: the prompt, a `Negative prompt:` line, and a last line of settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sumi.errors import SumiError
from sumi.imaging.image_file import open_image
from sumi.imaging.png import encode_png
from sumi.pipelines.checks import check_count, check_number
from sumi.pipelines.prompt import clean
from sumi.pipelines.request import LARGEST_SEED, PRIORS, Task
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.tasks import TASKS
from sumi.trust import ContentPolicyError
from sumi.trust.credentials import COMPOSITE, GENERATED
from sumi.trust.iptc import make_xmp

__all__ = ["Recipe", "Settings", "read_recipe", "recipe_in", "write_png"]

CHUNK, PARAMETERS = "sumi", "parameters"


@dataclass(frozen=True)
class Settings:
    """How one stage is run: which sampler, how many steps, how much guidance when, and from where.

    guidance 1 is none; interval: the times t, of [0, 1] with 1 all noise, between which guidance acts. start: the time
    to walk down from; below 1 an upsampler begins with the enlarged small picture, noised to that time.
    """

    sampler: str
    steps: int
    guidance: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    start: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.sampler, str):
            raise SumiError(f"a stage's sampler should be a name, not {self.sampler!r}")
        if not isinstance(self.interval, tuple | list) or len(self.interval) != 2:
            raise SumiError(f"a guidance interval should be two times, not {self.interval!r}")
        low, high = (check_number("each end of a guidance interval", time, 0.0, 1.0) for time in self.interval)
        if not low < high:
            raise SumiError(f"a guidance interval should rise, not run from {low} to {high}")
        checked = {
            "steps": check_count("steps", self.steps, 1, 1000),
            "guidance": check_number("guidance", self.guidance, 0.0, 1000.0),
            "start": check_number("start", self.start, 0.01, 1.0),
            "interval": (low, high),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

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

    prompt, negative: as the person wrote them. size: its width. stages: the settings of each stage that ran. hashes:
    sha256 of each part's weights. score: how near CLIP found it. operation, options: what was done, and the settings
    that only this has. sources: the pictures it was done to, as `Source` keeps them. height: where it is no square.
    interpretations: of its texts, by name, that were drawn as other words (see `sumi.conditioning.Interpretation`).
    adapters: those it was drawn with, as "mochi:0.8"; hashes has the sha256 of each, as "adapter mochi".
    typeset: its words that were set in type, because the model does not write.
    """

    __repr__ = short_repr

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
    operation: str = "generate"
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[Mapping[str, str]] = ()
    height: int | None = None
    interpretations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    adapters: str = ""
    typeset: Sequence[str] = ()

    @property
    def note(self) -> str | None:
        """One line that says what was drawn, where that is not the prompt itself or was not drawn by the model."""
        from sumi.conditioning.interpretation import Interpretation

        values = self.interpretations.get("prompt")
        read = None if values is None else Interpretation.from_json(values).note
        typeset = f"set in type: {', '.join(self.typeset)}" if self.typeset else None
        return ". ".join(filter(None, (read, typeset))) or None

    def request(self) -> Task:
        """Return the task of making this one picture; SumiError when it cannot be."""
        kind = TASKS.get(self.operation)
        if kind is None:
            raise SumiError(f"this recipe is of an operation {self.operation!r:.40}, unknown to this version of Sumi")
        if strange := sorted(self.options.keys() - kind.own()):
            raise SumiError(f"a recipe of {self.operation} has no option {', '.join(strange):.60}")
        main = self.stages.get("decoder") or next(iter(self.stages.values()), None)
        shared = {"prompt": self.prompt, "negative": self.negative, "seed": self.seed, "background": self.background}
        shared |= {"prior": next((kind for kind in PRIORS if PRIORS[kind] in self.stages), None)}
        shared |= {"size": self.size, "adapters": self.adapters}
        if kind.operation != "generate" and main is not None:  # these prefer settings of their own to the model's
            shared |= {"steps": main.steps, "guidance": main.guidance}
        given = {name: value for name, value in shared.items() if name not in kind.without} | dict(self.options)
        return kind.of(**given | self._as_drawn())

    def _as_drawn(self) -> dict[str, Any]:
        """The texts that were drawn as other words, as they were drawn."""
        if not self.interpretations:
            return {}
        from sumi.conditioning.interpretation import Interpretation

        read = {name: Interpretation.from_json(values) for name, values in self.interpretations.items()}
        return {name: own.drawn_as for name, own in read.items()} | {"interpretations": tuple(read.items())}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return values if self.adapters else {name: value for name, value in values.items() if name != "adapters"}

    @classmethod
    def from_json(cls, values: Any) -> Recipe:
        """Return the recipe that a JSON object holds; SumiError when it is not one."""
        try:
            stages = {str(name): Settings.from_json(row) for name, row in values["stages"].items()}
            hashes = {str(name): str(value) for name, value in values["hashes"].items()}
            given = {name: values[name] for name in ("prompt", "negative", "background", "model", "version")}
            given |= {name: values[name] for name in ("operation", "height", "adapters") if name in values}
            given |= {"options": dict(values.get("options", {})), "sources": tuple(values.get("sources", ()))}
            given |= {"interpretations": dict(values.get("interpretations", {}))}
            given |= {"typeset": tuple(map(str, values.get("typeset", ())))}
            recipe = cls(**given, seed=values["seed"], size=values["size"], stages=stages, hashes=hashes)
            with suppress(ContentPolicyError):  # such a picture can be read, and is not drawn again
                recipe.request()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SumiError(f"this is not a recipe of Sumi's: {type(error).__name__} at {error}") from None
        if not isinstance(recipe.model, str):
            raise SumiError("this is not a recipe of Sumi's: it needs the name of a model")
        if not all(isinstance(source, Mapping) for source in recipe.sources):
            raise SumiError("this is not a recipe of Sumi's: its sources are no pictures")
        check_count("seed", recipe.seed, 0, LARGEST_SEED)
        check_count("size", recipe.size, 1, 2**16)
        return recipe

    def ai_fields(self) -> dict[str, str]:
        """Return IPTC's fields of a picture that a model drew, without the prompt (see `sumi.trust.make_xmp`)."""
        source_type = COMPOSITE if self.operation == "edit" else GENERATED
        return {"system": f"Sumi ({self.model})", "version": self.version, "source_type": source_type}

    def parameters(self) -> str:
        """Return the text that other tools show: prompt, negative prompt, and `Name: value` pairs."""
        main = self.stages["decoder"] if "decoder" in self.stages else next(iter(self.stages.values()), None)
        pairs = {
            "Steps": main.steps if main else "",
            "Sampler": main.sampler if main else "",
            "CFG scale": f"{main.guidance:g}" if main else "",
            "Seed": self.seed,
            "Size": f"{self.size}x{self.height or self.size}",
            "Model hash": next(
                (self.hashes[name][:10] for name in ("decoder", *self.hashes) if name in self.hashes), ""
            ),
            "Model": self.model,
            "Version": f"sumi {self.version}",
            "Operation": "" if self.operation == "generate" else self.operation,
        }
        last = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in pairs.items() if value != "")
        negative = clean(self.negative)
        return "\n".join(filter(None, [clean(self.prompt), negative and f"Negative prompt: {negative}", last]))


def write_png(file: IO[bytes], image: Image.Image, recipe: Recipe) -> None:
    """Write the picture with its recipe inside, and with IPTC's fields for pictures that a model drew."""
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", make_xmp(**recipe.ai_fields(), prompt=clean(recipe.prompt)).decode())
    text = recipe.parameters()
    if text.isascii():
        info.add_text(PARAMETERS, text)
    else:
        info.add_itxt(PARAMETERS, text)
    info.add_text(CHUNK, json.dumps(recipe.to_json(), allow_nan=False))
    file.write(encode_png(image, info))


def read_recipe(path: str | Path) -> tuple[Image.Image, Recipe]:
    """Return a picture of ours and what it was made from; SumiError when it is damaged or somebody else's."""
    image = open_image(path)
    return image, recipe_in(image, str(path))


def recipe_in(image: Image.Image, named: str) -> Recipe:
    """Return what an opened picture of ours was made from; SumiError, naming it, when it is somebody else's."""
    text = image.info.get(CHUNK)
    if image.format not in (None, "PNG") or not isinstance(text, str):
        raise SumiError(f"{named} carries no recipe of Sumi's: only a PNG file that Sumi wrote has one inside")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise SumiError(f"the recipe inside {named} is damaged") from None
    return Recipe.from_json(values)


def _quoted(value: str) -> str:
    return json.dumps(value) if any(sign in value for sign in ',:\n"') else value
