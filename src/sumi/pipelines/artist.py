"""The artist, which `sumi.load` returns: a model as people use it, with verbs that it may refuse in one line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.events import Event, Picture, Pictures, Progress
from sumi.pipelines.interpreted import AnyTask
from sumi.pipelines.picturelike import Picturelike, as_image
from sumi.pipelines.policy import hand_out
from sumi.pipelines.progress_bar import ProgressLike, open_progress
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, Task, prompts_of
from sumi.pipelines.signing import read_once
from sumi.pipelines.steps import Work, drive, drive_to_end
from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Upscale, Vary
from sumi.pipelines.unclip import Model

if TYPE_CHECKING:
    from sumi.pipelines.explanation import Drawings, Explanation, Neighbor

__all__ = ["Artist"]


class Artist(ABC):
    """A model ready to draw. Every verb raises SumiError for what the model cannot do."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """Whose weights draw."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the pictures that it draws, smallest first."""

    @property
    @abstractmethod
    def stage_names(self) -> tuple[str, ...]:
        """The stages that its progress names, in their order."""

    @property
    def drawing_stages(self) -> dict[str, int]:
        """The stages that draw pictures, with the pixels a side of the picture that each draws."""
        return dict.fromkeys(self.stage_names, self.sizes[-1])

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The default settings of the stage that decides what a picture shows."""

    @property
    def grid_places(self) -> int:
        """The number of positions of the grid that a picture is drawn on; usage counts them as tokens."""
        return self.sizes[-1] ** 2

    @property
    def best_of(self) -> int:
        """Candidates that it draws for each picture where a request does not say how many."""
        return 1

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the tasks that it can do; it refuses the others."""
        return (Request.operation,)

    @property
    def features(self) -> tuple[str, ...]:
        """What it can do besides its operations, of explain, layers, nearest and search."""
        return ()

    @property
    def embeds_with(self) -> str | None:
        """The hash of the CLIP that embeds texts and pictures; None for a model that has none."""
        return None

    def batched(self, pictures: int) -> Artist:
        """Return the model drawing at most so many pictures at once."""
        return self

    def with_adapters(self, *adapters: str) -> Artist:
        """Return the model drawing with adapters, such as "mochi:0.8"; SumiError where it takes none."""
        if any(adapters):
            raise self.cannot("draw with adapters")
        return self

    def interpreted(self, task: AnyTask) -> AnyTask:
        """Return a task with its texts as they are drawn; UnknownPromptError for a text without a known word."""
        return task

    def as_drawn(self, text: str) -> str:
        """Return a text as it is drawn; unchanged where it has no known word."""
        return text

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return CLIP's embeddings of texts, (N, D)."""
        raise self.cannot("embed texts")

    def embed_images(self, images: Iterable[Picturelike]) -> Tensor:
        """Return CLIP's embeddings of pictures, (N, D)."""
        raise self.cannot("embed pictures")

    def work_explained(self, recipe: Recipe) -> Work[Explanation]:
        """Return the work of `explain`."""
        raise self.cannot("explain its pictures")

    def explain(self, recipe: Recipe) -> Explanation:
        """Return which word of its prompt drew which part of a picture, from the recipe of that picture."""
        return drive_to_end(self.work_explained(recipe))

    def drawings(self) -> Drawings | None:
        """Return the drawings that taught the model; None where it carries none."""
        return None

    def nearest(self, image: Picturelike, k: int = 6) -> list[Neighbor]:
        """Return the drawings that taught the model which are nearest to a picture, nearest first."""
        raise self.cannot("compare pictures")

    def cannot(self, what: str) -> SumiError:
        """Return the error of a model that cannot do something."""
        return SumiError(f"{self.model.name} draws and cannot {what}; Sumi's own model can")

    @abstractmethod
    def work(self, task: Task, *images: Picturelike) -> Work[None]:
        """Check a task and return it as work that asks for every step, so that a server can batch many."""

    @abstractmethod
    def work_again(self, recipe: Recipe, image: Picturelike | None = None) -> Work[None]:
        """Return the work of drawing a picture again from its recipe.

        image: the picture that the recipe was found in, which an edit needs, as it holds all that was not drawn.
        """

    @abstractmethod
    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Return remarks on a task, a line each: texts drawn in other words, and settings without effect."""

    @abstractmethod
    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Return how near each picture is to the prompt, as a cosine."""

    @abstractmethod
    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Return how probable each label is beside the others, likeliest first; a text is split at its commas."""

    @abstractmethod
    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as premultiplied uint8 (B, 4, H, W); None where it is not yet a picture."""

    def stream(self, task: Task, *images: Picturelike) -> Iterator[Event]:
        """Check a task, then draw it as the iterator is read: Progress and Picture events."""
        return hand_out(
            drive(self.work(task, *images)), self.with_adapters(task.adapters), [task], images[: task.num_images]
        )

    def replay(self, recipe: Recipe, image: Picturelike | None = None) -> Iterator[Event]:
        """Draw a picture again from its recipe; on the same weights it comes out the same. image: see `work_again`."""
        pictures = [image] if recipe.sources and image is not None else []
        return hand_out(
            drive(self.work_again(recipe, image)), self.with_adapters(recipe.adapters), [recipe.request()], pictures
        )

    def generate(
        self,
        prompt: str | Iterable[str],
        *,
        n: int = 1,
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        background: str = "auto",
        best_of: int | None = None,
        sampler: str | None = None,
        prior: str | None = None,
        whole: bool = False,
        balance: bool = False,
        anyway: bool = False,
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw pictures of a prompt, or of each of several prompts.

        Args:
            prompt: up to 4,000 characters in any script; of a list of prompts, each draws n pictures, in its order.
            n: pictures, 1 to 64.
            seed: picture i is drawn from seed + i; the same seed draws the same picture. By default a random one.
            size: pixels along a side, one of the model's; by default its largest.
            steps: denoising steps of the decoder, 1 to 1,000; by default the model's own.
            guidance: how closely the decoder follows the prompt, 0 to 30; 1 is unguided.
            negative: what to stay away from; needs guidance other than 1.
            background: auto, transparent, opaque (white) or a colour such as #ffd700.
            best_of: draw so many and keep the n that CLIP finds nearest to the prompt; by default as the model says.
            sampler: of the decoder, such as ddim or dpmpp-2m.
            prior: what turns words into an image embedding: diffusion or ar.
            whole: draw in one piece what the model would else arrange in layers.
            balance: name a skin tone and a gender for people without, all equally often; the recipes say so.
            anyway: draw also a prompt of which the model knows nothing, instead of suggesting others.
            progress: True for a bar on stderr, or a function that is called with a `Progress` after each step.

        Raises:
            SumiError: when a setting is out of range or the model cannot do this.
        """
        tasks = [
            Request(
                text, n=n, seed=seed, size=size, steps=steps, guidance=guidance, negative=negative, anyway=anyway,
                background=background, best_of=best_of, sampler=sampler, prior=prior, whole=whole, balance=balance,
            )
            for text in prompts_of(prompt)
        ]  # fmt: skip
        return self._collected(tasks, progress=progress)

    def vary(
        self,
        image: Picturelike,
        *,
        eta: float = 1.0,
        n: int = 1,
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        background: str = "auto",
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw other pictures of what this one shows.

        Args:
            image: the picture, in any form (see `Picturelike`).
            eta: how much of the picture's own noise is renewed, 0 (the picture again) to 1 (only what it shows stays).
            n, seed, size, steps, guidance, background, progress: as in `generate`.
        """
        task = Vary(eta=eta, n=n, seed=seed, size=size, steps=steps, guidance=guidance, background=background)
        return self._collected([task], image, progress=progress)

    def edit(
        self,
        image: Picturelike,
        prompt: str = "",
        mask: Picturelike | None = None,
        *,
        expand: tuple[int, int, int, int] = (0, 0, 0, 0),
        rounds: int = 3,
        n: int = 1,
        seed: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        sampler: str | None = None,
        prior: str | None = None,
        anyway: bool = False,
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw a part of a picture anew, where the mask is white or in new margins; the rest stays as it is.

        Args:
            image: the picture, in any form (see `Picturelike`).
            prompt: what the whole picture should then show; without one, what the rest of it shows.
            mask: a picture of the same size, white (or True) where to draw.
            expand: pixels to add on the left, top, right and bottom, and to draw.
            rounds: how often each step is walked, so that new and old agree, 1 to 20.
            n, seed, steps, guidance, negative, sampler, prior, anyway, progress: as in `generate`.
        """
        task = Edit(
            prompt, expand, rounds, n=n, seed=seed, steps=steps, guidance=guidance, negative=negative,
            sampler=sampler, prior=prior, anyway=anyway,
        )  # fmt: skip
        return self._collected([task], image, *([] if mask is None else [mask]), progress=progress)

    def blend(
        self,
        one: Picturelike,
        other: Picturelike,
        *,
        frames: int = 8,
        amount: float | None = None,
        noise: str = "inverted",
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        background: str = "auto",
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw the way from one picture to another.

        Args:
            one: the picture at the beginning, in any form (see `Picturelike`).
            other: the picture at the end.
            frames: how many pictures, both ends among them, 2 to 64.
            amount: draw only the picture so far along, 0 to 1.
            noise: inverted (each end is that picture) or fixed (one noise for all, so that only the content changes).
            seed, size, steps, background, progress: as in `generate`.
        """
        task = Blend(
            frames=frames, amount=amount, noise=noise, seed=seed, size=size, steps=steps, background=background
        )
        return self._collected([task], one, other, progress=progress)

    def restyle(
        self,
        image: Picturelike,
        before: str,
        after: str,
        amount: float = 0.6,
        *,
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        background: str = "auto",
        anyway: bool = False,
        progress: ProgressLike = False,
    ) -> Pictures:
        """Move a picture in the direction from one text to another.

        Args:
            image: the picture, in any form (see `Picturelike`).
            before: a text of the picture as it is, such as 'a red fox'.
            after: a text of the picture as it should be, such as 'a blue fox'.
            amount: how far, 0 (the picture itself) to 1.
            seed, size, steps, guidance, background, anyway, progress: as in `generate`.
        """
        task = Restyle(
            before, after, amount, seed=seed, size=size, steps=steps, guidance=guidance, background=background,
            anyway=anyway,
        )  # fmt: skip
        return self._collected([task], image, progress=progress)

    def explore(
        self,
        image: Picturelike,
        *,
        dims: int | None = None,
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        background: str = "auto",
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw a picture from more and more principal components of its embedding.

        Args:
            image: the picture, in any form (see `Picturelike`).
            dims: draw only the picture of so many components.
            seed, size, steps, guidance, background, progress: as in `generate`.
        """
        task = Explore(dims=dims, seed=seed, size=size, steps=steps, guidance=guidance, background=background)
        return self._collected([task], image, progress=progress)

    def img2img(
        self,
        image: Picturelike,
        prompt: str,
        strength: float = 0.7,
        *,
        n: int = 1,
        seed: int | None = None,
        size: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        background: str = "auto",
        sampler: str | None = None,
        prior: str | None = None,
        anyway: bool = False,
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw a prompt over a picture.

        Args:
            image: the picture, in any form (see `Picturelike`).
            prompt: what the picture should then show.
            strength: how much of the picture is given up, 0.01 to 1 (all of it).
            n, seed, size, steps, guidance, negative, background, sampler, prior, anyway, progress: as in
            `generate`.
        """
        task = Img2img(
            prompt, strength=strength, n=n, seed=seed, size=size, steps=steps, guidance=guidance, negative=negative,
            background=background, sampler=sampler, prior=prior, anyway=anyway,
        )  # fmt: skip
        return self._collected([task], image, progress=progress)

    def upscale(
        self,
        image: Picturelike,
        *,
        seed: int | None = None,
        steps: int | None = None,
        background: str = "auto",
        progress: ProgressLike = False,
    ) -> Pictures:
        """Draw a picture four times as large.

        Args:
            image: the picture, in any form (see `Picturelike`).
            steps: denoising steps of the upsampler.
            seed, background, progress: as in `generate`.
        """
        return self._collected([Upscale(seed=seed, steps=steps, background=background)], image, progress=progress)

    def _collected(self, tasks: Sequence[Task], *images: Picturelike, progress: ProgressLike = False) -> Pictures:
        originals = [read_once(image) for image in images]
        opened = [as_image(image) for image in originals]
        pictures = []
        with open_progress(progress) as tell:
            events = self._events(tasks, opened)
            for event in hand_out(events, self, tasks, originals[: tasks[0].num_images]):
                if isinstance(event, Picture):
                    pictures.append(event)
                else:
                    tell(event)
        notes = dict.fromkeys(note for task in tasks for note in self.notes(task, *opened))
        return Pictures(pictures, list(notes))

    def _events(self, tasks: Sequence[Task], images: Sequence[Image.Image]) -> Iterator[Event]:
        """Check every task, then draw one after another."""
        for work in [self.work(task, *images) for task in tasks]:
            yield from drive(work)
