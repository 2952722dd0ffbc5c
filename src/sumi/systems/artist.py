"""The artist of a system: a trained system as people draw with it, by the same verbs as any model.

    prompt -> caption, or the label that it names, or nothing -> Pipeline.sample -> pictures with their recipes

What a system did not learn it refuses by name. Its bundle's settings say what it was trained on: size_px, and
`classes`, the names of its labels.
"""

from __future__ import annotations

import difflib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from PIL import Image
from torch import Tensor, nn

from sumi import __version__
from sumi.bundles import Bundle
from sumi.conditioning import Lexicon, interpret
from sumi.conditioning.interpretation import interpret_label
from sumi.errors import SumiError
from sumi.pipelines import Artist, Model, Progress, Recipe, Request, Settings, Task
from sumi.pipelines.checks import check_choice
from sumi.pipelines.events import Sample
from sumi.pipelines.interpreted import AnyTask, interpreted, notes_of
from sumi.pipelines.picturelike import Picturelike
from sumi.pipelines.prompt import clean
from sumi.pipelines.stage import batches
from sumi.pipelines.steps import Work
from sumi.pipelines.torch_state import own_torch_state
from sumi.pipelines.unclip import RANDOM_SEEDS, finished_picture, picture_seeds
from sumi.systems import Method, System
from sumi.systems.pipeline import Pipeline, SampleRequest

__all__ = ["SystemArtist", "label_of", "model_of", "system_artist"]

BATCH = 8
ARTICLES = {"a", "an", "the"}
MOST_NAMED = 12
UNSUPPORTED = ("negative", "guidance", "sampler", "prior", "best_of", "balance", "adapters")
"""Settings of a request that a system cannot change."""
NEUTRAL = {"guidance": 1.0}
"""Values of those settings that ask for nothing, as a page sends them whose controls were left alone."""


def model_of(system: str) -> str:
    """Return what a model of a system is called in a message: a ddpm model, an edm model."""
    return f"{'an' if system[0] in 'aeiou' else 'a'} {system} model"


def label_of(prompt: str, classes: Sequence[str]) -> int:
    """Return the number of the class that a prompt names, with or without an article; SumiError listing some."""
    words = clean(prompt).casefold().split()
    named = {name.casefold(): number for number, name in reversed(list(enumerate(classes)))}
    for text in (" ".join(words), " ".join(words[1:] if words[:1] and words[0] in ARTICLES else words)):
        if text in named:
            return named[text]
    near = difflib.get_close_matches(text, named, 1, 0.6)
    some = ", ".join(classes[:MOST_NAMED]) + (f" and {len(classes) - MOST_NAMED} more" * (len(classes) > MOST_NAMED))
    hint = f"; did you mean {classes[named[near[0]]]}?" if near else ""
    raise SumiError(f"this model draws what it has a label for, and {prompt!r} is none: it knows {some}{hint}")


def _is_label(prompt: str, classes: Sequence[str]) -> bool:
    """Whether a prompt names a class as it is."""
    try:
        label_of(prompt, classes)
    except SumiError:
        return False
    return True


@dataclass(frozen=True)
class SystemArtist(Artist):
    """A system with its bundle."""

    bundle: Bundle
    system: System

    def __repr__(self) -> str:
        """Return which system draws, and whose weights."""
        return f"<SystemArtist {self.bundle.name}: {self.system.name}, {self.size_px} px>"

    @property
    def model(self) -> Model:
        """Whose weights draw."""
        return Model(self.bundle.name, self.bundle.hashes, self.bundle.rights_summary)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The one size that it was trained on."""
        return (self.size_px,)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Its networks."""
        return self.method.stages_for(self.size_px)

    @property
    def settings(self) -> Settings:
        """The steps that its method takes by default."""
        return Settings(self.system.name, self.method.num_steps)

    @cached_property
    def method(self) -> Method:
        """The method, with the settings that it took from what it was trained on."""
        try:
            return self.system.method().with_settings(self.bundle.settings)
        except SumiError as error:
            raise SumiError(f"{self.bundle.folder}: {error}") from None

    @cached_property
    def parts(self) -> dict[str, nn.Module]:
        """Its networks."""
        return {name: self.bundle.part(name) for name in self.bundle.parts}

    @cached_property
    def pipeline(self) -> Pipeline:
        """What draws; made once, so that the steps of many requests can be taken together."""
        return self.method.pipeline(self.parts)

    @property
    def size_px(self) -> int:
        """Pixels along a side of what it was trained on."""
        size_px = self.bundle.settings["size_px"]
        if type(size_px) is not int or not 1 <= size_px <= 2**16:
            raise SumiError(f"{self.bundle.folder}: size_px in the settings should be a number of pixels")
        return size_px

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its labels."""
        classes = self.bundle.settings.get("classes", [])
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise SumiError(f"{self.bundle.folder}: classes in the settings should be a list of names")
        return tuple(classes)

    @own_torch_state()
    def work(self, task: Task, *images: Picturelike) -> Work[None]:
        """Interpret and check a task and return it as work, which asks for every step."""
        return self._work(self.interpreted(task))

    def _work(self, task: Task) -> Work[None]:
        request = self.sample_request(task)
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        return self._drawn(replace(task, seed=seed), request)

    def interpreted(self, task: AnyTask) -> AnyTask:
        """Return a task with the prompt that is drawn; SumiError where the model knows nothing of it."""
        needs, lexicon = self.system.needs, Lexicon.of_words(self.bundle.vocabulary.get("words", ()))
        if not isinstance(task, Request) or (not self.classes and "labels" in needs):
            return task
        if "captions" in needs:
            return interpreted(task, lambda text: interpret(text, lexicon))
        if "labels" in needs and not _is_label(task.prompt, self.classes):
            read = interpret_label(clean(task.prompt), self.classes)
            return interpreted(task, lambda _: read) if read.known else task
        return task

    def sample_request(self, task: Task) -> SampleRequest:
        """Return what the pipeline draws for one picture of a task; SumiError for what it cannot do."""
        name, needs = self.system.name, self.system.needs
        if not isinstance(task, Request):
            raise self.cannot(task.operation)
        for setting in UNSUPPORTED:
            value = getattr(task, setting)
            if value is not False and value not in (None, "", NEUTRAL.get(setting)):
                raise SumiError(f"{model_of(name)} has no {setting.replace('_', '-')} to set")
        if task.size is not None:
            check_choice("size", str(task.size), [str(self.size_px)])
        labels = [label_of(task.prompt, self.classes)] if "labels" in needs else []
        captions = [clean(task.prompt)] if "captions" in needs else []
        return SampleRequest((0,), self.size_px, captions, labels, task.steps)

    def _drawn(self, task: Task, one: SampleRequest) -> Work[None]:
        recipe = Recipe(
            prompt=task.original_text("prompt"),
            interpretations={name: read.to_json() for name, read in task.interpretations},
            seed=0,
            size=self.size_px,
            stages={} if task.steps is None else {"network": Settings(self.system.name, task.steps)},
            model=self.bundle.name,
            version=__version__,
            hashes=self.bundle.hashes,
            background=task.background,
        )
        for some in batches(task.n, BATCH):
            started, seeds = time.perf_counter(), picture_seeds(task, task.n)[some]
            captions, labels = [*one.captions] * len(seeds), [*one.labels] * len(seeds)
            request = replace(one, seeds=seeds, captions=captions, labels=labels)
            levels = yield from self.pipeline.sample(request)
            seconds = (time.perf_counter() - started) / len(seeds)
            for seed, level in zip(seeds, levels, strict=True):
                yield finished_picture(Sample(seed, level), replace(recipe, seed=seed), seconds)

    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Say when it takes no words, or did not learn some of them."""
        needs = self.system.needs
        if "captions" not in needs and "labels" not in needs:
            return [f"{model_of(self.system.name)} hears no words: the prompt only names the file"]
        return notes_of(self.interpreted(task))

    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again from its recipe."""
        steps = next((settings.steps for settings in recipe.stages.values()), None)
        return self._work(replace(recipe.request(), steps=steps, size=None))

    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Refuse."""
        raise self.cannot("rank")

    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Refuse."""
        raise self.cannot("classify")

    def cannot(self, what: str) -> SumiError:
        """Return the error of a system that cannot do something."""
        return SumiError(f"{model_of(self.system.name)} draws and cannot {what}; Sumi's own model can")

    @own_torch_state()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as premultiplied uint8 (B, 4, H, W); None where it is not yet a picture."""
        levels = self.pipeline.preview(progress)
        return None if levels is None else progress.shown_as(levels)


def system_artist(bundle: Bundle, system: System) -> SystemArtist:
    """Return the system of a bundle, ready to draw; SumiError when a network is missing."""
    if bundle.device.type != "cpu":
        raise SumiError(f"{model_of(bundle.system)} draws on the CPU; Sumi's own model takes other devices too")
    artist = SystemArtist(bundle, system)
    if missing := [stage for stage in artist.method.stages_for(artist.size_px) if stage not in bundle.parts]:
        raise SumiError(f"{bundle.folder} is no whole {bundle.system} model: it has no {', '.join(missing)}")
    return artist
