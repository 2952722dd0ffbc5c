"""Everything a person does with a model, in Python: draw, draw from pictures, rank, classify, and draw again.

>>> import sumi
>>> sumi.load().generate("a red fox", n=4, seed=7).save("fox.png")  # doctest: +SKIP
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from sumi.conditioning import Interpretation, Lexicon, balance_people, interpret
from sumi.errors import SumiError
from sumi.explain.nearest_drawings import nearest
from sumi.explain.prompt_words import explain
from sumi.imaging.image_file import rgba
from sumi.imaging.pixels import from_image
from sumi.pipelines.adapters import join_adapters, parse_adapters
from sumi.pipelines.artist import Artist
from sumi.pipelines.blend import blend
from sumi.pipelines.checks import check_text
from sumi.pipelines.edit import edit
from sumi.pipelines.events import Event, Picture, Progress
from sumi.pipelines.explanation import Drawings, Explanation, Neighbor
from sumi.pipelines.explore import explore
from sumi.pipelines.img2img import img2img
from sumi.pipelines.interpreted import interpreted, notes_of
from sumi.pipelines.picturelike import Picturelike, as_image, as_images
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, Task
from sumi.pipelines.restyle import restyle
from sumi.pipelines.source import Source
from sumi.pipelines.steps import Work, collected, drive, run_in_groups, run_side_by_side
from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Upscale, Vary
from sumi.pipelines.torch_state import own_torch_state
from sumi.pipelines.unclip import RANDOM_SEEDS, AnyTask, Model, UnCLIPPipeline
from sumi.pipelines.upscale import upscale
from sumi.pipelines.vary import vary
from sumi.systems.unclip.forward import generate

__all__ = ["Sumi"]

OPERATIONS: Mapping[type[Task], tuple[Callable[..., Work[None]], int, int]] = {
    Vary: (vary, 1, 1),
    Edit: (edit, 1, 2),
    Blend: (blend, 2, 2),
    Restyle: (restyle, 1, 1),
    Explore: (explore, 1, 1),
    Img2img: (img2img, 1, 1),
    Upscale: (upscale, 1, 1),
}
"""How each task is done, and to how many pictures at least and at most."""

MOST_LABELS = 1000


class TextReader(Protocol):
    """What turns prompts into tokens: a tokenizer."""

    def fits(self, text: str) -> bool:
        """Whether the whole text is read."""
        ...


@dataclass(frozen=True)
class Sumi(Artist):
    """A model ready to draw.

    lexicon: what it was taught, by which prompts are interpreted; an empty one leaves them as they are.
    sharpness: CLIP's scale on cosines, exp(log_scale). drawings: what taught it, if kept. adapt: returns the model with
    adapters, named as in "mochi:0.8,inky"; adapters: those it draws with. folder: of its bundle.
    """

    pipeline: UnCLIPPipeline
    reader: TextReader
    lexicon: Lexicon = field(default_factory=lambda: Lexicon({}))
    sharpness: float = 100.0
    drawings: Callable[[], Drawings | None] = lambda: None
    adapt: Callable[[str], Sumi] | None = None
    adapters: str = ""
    folder: Path | None = None

    @property
    def model(self) -> Model:
        """Whose weights draw."""
        return self.pipeline.model

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the pictures that it draws."""
        return self.pipeline.sizes

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Its priors, the decoder and the upsamplers."""
        return (*(prior.name for prior in self.pipeline.priors.values()), *self.pipeline.stages)

    @property
    def drawing_stages(self) -> dict[str, int]:
        """The decoder and the upsamplers, with the pixels a side of the picture that each draws."""
        return dict(zip(self.pipeline.stages, self.pipeline.sizes, strict=True))

    @property
    def settings(self) -> Settings:
        """How the decoder is run."""
        return self.pipeline.decoder.settings

    @property
    def grid_places(self) -> int:
        """Places of the decoder's grid."""
        return math.prod(self.pipeline.decoder.shape[1:])

    @property
    def operations(self) -> tuple[str, ...]:
        """All there are."""
        return (Request.operation, *(task.operation for task in OPERATIONS))

    @property
    def features(self) -> tuple[str, ...]:
        """Explanations and search, and layers and training drawings where the bundle has them."""
        layers = () if self.pipeline.arrange is None else ("layers",)
        nearest = () if self.drawings() is None else ("nearest",)
        return ("explain", *layers, *nearest, "search")

    @property
    def embeds_with(self) -> str:
        """The hash of its CLIP."""
        return str(self.model.hashes.get("clip", self.model.name))

    def batched(self, pictures: int) -> Sumi:
        """Return the model drawing at most so many pictures at once."""
        return replace(self, pipeline=replace(self.pipeline, batch=pictures))

    @own_torch_state()
    def with_adapters(self, *adapters: str) -> Sumi:
        """Return the model drawing with adapters of the person's folder, each as "mochi" or "mochi:0.8" (SumiError)."""
        named = join_adapters(parse_adapters(",".join(adapters)))
        if named in ("", self.adapters):
            return self
        if self.adapt is None or self.adapters:
            raise SumiError(f"the model {self.model.name} takes no {'further ' if self.adapters else ''}adapters")
        adapted = self.adapt(named)
        return replace(adapted, pipeline=replace(adapted.pipeline, batch=self.pipeline.batch))

    @own_torch_state()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return CLIP's embeddings of texts, (N, D)."""
        return self.pipeline.read(list(texts)).z_t.float()

    @own_torch_state()
    def embed_images(self, images: Iterable[Picturelike]) -> torch.Tensor:
        """Return CLIP's embeddings of pictures, (N, D)."""
        return self.pipeline.embed(self._levels(images)).float()

    @own_torch_state()
    def preview(self, progress: Progress) -> torch.Tensor | None:
        """Return what a step sees as premultiplied uint8 (B, 4, H, W); None where it is no picture yet."""
        return self.pipeline.preview(progress)

    def __repr__(self) -> str:
        """Return whose weights draw, and how large."""
        sizes, stages = " or ".join(map(str, self.pipeline.sizes)), [self.pipeline.prior.name, *self.pipeline.stages]
        return f"<Sumi {self.model.name}: {sizes} px by {', '.join(stages)}>"

    def _events(self, tasks: Sequence[Task], images: Sequence[Image.Image]) -> Iterator[Event]:
        """Check every task, then draw: as many together as fit into one batch, whatever their prompts."""
        works = [(self.work(task, *images), self._width(task)) for task in tasks]
        if len(works) == 1:
            yield from drive(works[0][0])
            return
        while works:
            group = [works.pop(0)]
            while works and sum(width for _, width in [*group, works[0]]) <= self.pipeline.batch:
                group.append(works.pop(0))
            drawn: list[list[Picture]] = [[] for _ in group]
            each = [collected(work, pictures) for (work, _), pictures in zip(group, drawn, strict=True)]
            yield from drive(run_side_by_side(each))
            yield from (replace(one, seconds=one.seconds / len(group)) for pictures in drawn for one in pictures)

    def _width(self, task: Task) -> int:
        """Return how many pictures a task draws at once."""
        return task.candidates(self.best_of) if isinstance(task, Request) else task.n

    @property
    def best_of(self) -> int:
        """Candidates for each picture where a request does not say how many."""
        return self.pipeline.best_of

    @own_torch_state()
    def work(self, task: Task, *images: Picturelike) -> Work[None]:
        """Interpret and check a task, and return its pipeline at work for whoever drives it."""
        model, task = self.with_adapters(task.adapters), replace(task, adapters=task.adapters or self.adapters)
        if isinstance(task, Request) and task.balance:
            works = [run_task(model.pipeline, part, ()) for part in model.balanced(task)]
            return run_in_groups(works, max(1, model.pipeline.batch // ((task.best_of or 1) // task.n or 1)))
        return run_task(model.pipeline, model.interpreted(task), [Source.of(as_image(image)) for image in images])

    def interpreted(self, task: AnyTask) -> AnyTask:
        """Return a task with its texts as the model is told them; UnknownPromptError where it knows nothing of one."""
        lexicon = self.with_adapters(task.adapters).lexicon
        return interpreted(task, lambda text: interpret(text, lexicon))

    def balanced(self, task: Request) -> list[Request]:
        """Return a request for each picture, interpreted, with a tone and a gender of its own for people without.

        Of `best_of` candidates each picture has its equal part, so that no tone is chosen for its score.
        """
        each = (task.best_of or task.n) // task.n
        first = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed

        def part(number: int) -> Request:
            def read(text: str) -> Interpretation:
                one = interpret(text, self.lexicon)
                return balance_people(one, self.lexicon, first + number) if text == clean(task.prompt) else one

            best_of = None if task.best_of is None else each
            return interpreted(replace(task, n=1, seed=first + number * each, best_of=best_of), read)

        return [part(number) for number in range(task.n)]

    def as_drawn(self, text: str) -> str:
        """Return a text as the model is told it: as it is where nothing of it is known."""
        return interpret(text, self.lexicon).drawn_as

    @own_torch_state()
    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Return what a person should know before blaming the picture, a line each."""
        model, drawn = self.with_adapters(task.adapters), self.interpreted(task)
        notes = notes_of(drawn)
        if isinstance(task, Request) and task.balance:
            added = model.balanced(replace(task, n=1, best_of=None, seed=task.seed or 0))[0].interpretations
            words = [word for name, read in added if name == "prompt" for word in read.added]
            notes.append(
                f"balance adds words that differ from picture to picture, such as: {' and '.join(words)}"
                if words
                else "balance adds nothing: the prompt names nobody without a skin tone and a gender"
            )
        if not all(model.reader.fits(text) for text in drawn.texts):
            notes.append("this model reads only the beginning of a prompt so long")
        strength = self.pipeline.decoder.settings.guidance if task.guidance is None else task.guidance
        if clean(task.negative) and strength == 1.0:
            notes.append("a negative prompt does nothing at guidance 1")
        drawn_px = self.pipeline.sizes[-1]
        if isinstance(task, Edit) and images and max(task.expanded(images[0].size)) > drawn_px:
            notes.append(f"the new part is drawn as if the picture had {drawn_px} pixels a side, and enlarged to fit")
        return list(dict.fromkeys(notes))

    @own_torch_state()
    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Return how near each picture is to the prompt, as a cosine."""
        text = self.pipeline.read([self.as_drawn(clean(Request(prompt).prompt))])
        return self.pipeline.rank(self._levels(images), text.z_t)

    @own_torch_state()
    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Return how probable each label is beside the others, likeliest first; a text is split at its commas."""
        named = list(dict.fromkeys(filter(None, map(clean, map(_checked, _split(labels))))))
        if len(named) < 2 or len(named) > MOST_LABELS:
            raise SumiError(f"classify needs 2 to {MOST_LABELS} different labels, such as cat,dog; found {len(named)}")
        z_t = self.pipeline.read([self.as_drawn(label) for label in named]).z_t
        z_i = self.pipeline.embed(self._levels([image]))
        chances = torch.softmax(self.sharpness * (z_t @ z_i[0]), dim=0)
        order = torch.argsort(chances, descending=True)
        return {named[index]: float(chances[index]) for index in order.tolist()}

    @own_torch_state()
    def work_explained(self, recipe: Recipe) -> Work[Explanation]:
        """Return the work of finding which word of its prompt drew which part of a picture, from its recipe."""
        return explain(self.with_adapters(recipe.adapters).pipeline, recipe)

    @own_torch_state()
    def nearest(self, image: Picturelike, k: int = 6) -> list[Neighbor]:
        """Return the drawings that taught the model which are nearest to a picture, nearest first."""
        drawings = self.drawings()
        if drawings is None:
            raise SumiError(f"the model {self.model.name} carries no drawings: 'sumi data drawings' writes them")
        return nearest(self.pipeline, drawings, as_image(image), k)

    @own_torch_state()
    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again; an edit needs the picture that its recipe was found in."""
        task, kept = recipe.request(), list(recipe.sources)
        task = replace(task, best_of=task.n) if isinstance(task, Request) else task
        sources = []
        if isinstance(task, Edit) and kept:
            if image is None:
                raise SumiError("an edit is drawn again from the picture that it is in: give that as well")
            sources, kept = [Source(rgba(as_image(image)), str(kept[0].get("sha256", "")))], kept[1:]
        sources += [Source.from_json(row) for row in kept]
        return run_task(self.with_adapters(recipe.adapters).pipeline.with_settings(recipe.stages), task, sources)

    def _levels(self, images: Picturelike | Iterable[Picturelike]) -> torch.Tensor:
        return torch.stack([from_image(image, self.pipeline.size_px) for image in as_images(images)])


def run_task(pipeline: UnCLIPPipeline, task: Task, sources: Sequence[Source]) -> Work[None]:
    """Check a task and its pictures against the model (SumiError), then draw, asking for every step."""
    if isinstance(task, Request):
        return generate(pipeline, task)
    operation, least, most = OPERATIONS[type(task)]
    if not least <= len(sources) <= most:
        raise SumiError(f"{task.operation} is done to {least if least == most else f'{least} or {most}'} pictures")
    return operation(pipeline, task, sources)


def _split(labels: str | Iterable[str]) -> list[str]:
    if isinstance(labels, str):
        return labels.split(",")
    if not isinstance(labels, Iterable) or isinstance(labels, bytes):
        raise SumiError(f"labels should be texts, such as ['cat', 'dog'], not {type(labels).__name__}")
    return list(labels)


def _checked(label: str) -> str:
    check_text("label", label)
    return label
