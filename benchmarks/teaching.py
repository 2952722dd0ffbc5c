"""What `sumi teach` reaches: a thing that the model never saw, taught from 12 drawings, drawn in 50 prompts.

    python benchmarks/teaching.py --minutes 20 --json teaching.json

A small classifier, trained here on rendered drawings alone, says whether a picture shows the thing. It shares nothing
with the model: no weights, no CLIP. Its negatives are the drawings that the model was trained on, and relatives of the
thing that differ by one part. Controls: rendered drawings that it never saw, and what the model draws for the same
prompts with the stand-in in the word's place. The exam is sat with and without the adapter, on the same seeds.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from teaching_drawings import PX, RELATIVES, draw_creature
from torch import Tensor, nn

from sumi.bundles import Bundle, default_bundle, open_adapter
from sumi.evaluation.exam import load_syllabus, prompt_drawer, run_exam
from sumi.evaluation.intervals import Gain, Share
from sumi.evaluation.questions import MAIN
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import to_image
from sumi.imaging.png import save_png
from sumi.judge.network import load_judge
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.model import assemble
from sumi.systems.unclip.teach import TeachSettings, teach_word

SEEN_PX, NUM_TRAINING, NUM_VALIDATION, EPOCHS = 64, 1600, 200, 6
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray")
COMPANY = (
    "{} and a fox", "a car and {}", "{} wearing a top hat", "{} riding a bicycle", "{} holding a balloon",
    "{} next to a tree", "{} above a cloud", "an owl and {}", "{} on a yellow background", "two {}s",
)  # fmt: skip


def make_prompts(word: str) -> list[str]:
    """Return 50 prompts: 20 of the thing in a colour, 20 in company, 10 of both."""
    alone = [f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {word}" for colour in COLOURS]
    frames = ["{}", "a sticker of {}"]
    company = [frame.format(word if frame.startswith("two") else f"a {word}") for frame in COMPANY]
    both = [frame.format(f"{colour} {word}" if frame.startswith("two") else prompt)
            for frame, colour, prompt in zip(COMPANY, COLOURS, alone, strict=True)]  # fmt: skip
    return [frame.format(prompt) for frame in frames for prompt in alone] + company + company + both


# The classifier. -----------------------------------------------------------------------------------------------------


def make_example(rng: random.Random, others: Sequence[Image.Image], shows_it: bool) -> Tensor:
    """Return a scene of one to three things, RGB over a colour, (3, SEEN_PX, SEEN_PX) in [0, 1]."""
    page = Image.new("RGBA", (PX, PX), tuple(rng.choice((255, rng.randint(120, 255))) for _ in "rgb"))
    company = rng.choice((0, 0, 1, 2))
    kinds = ["other"] * company + ["it" if shows_it else "other"]
    if not (shows_it or company) and rng.random() < 0.5:  # small, nobody could tell a relative from the thing
        kinds = ["relative"]
    rng.shuffle(kinds)
    for kind in kinds:
        if kind == "other":
            thing = rng.choice(others)
        else:
            relative = "" if kind == "it" else rng.choice(RELATIVES)
            thing = draw_creature(rng, rng.choice((None, rng.random())), relative)
            if rng.random() < 0.5:  # as coarse as the drawings of other things are kept
                thing = thing.resize((48, 48))
            if rng.random() < 0.2:
                thing = drained(thing, rng.uniform(0.2, 1.0))
        side = round(PX * (rng.uniform(0.6, 1.0) if len(kinds) == 1 else rng.uniform(0.38, 0.6)))
        small = thing.resize((side, side))
        page.alpha_composite(small, (rng.randint(0, PX - side), rng.randint(0, PX - side)))
    seen = page.convert("RGB").resize((rng.choice((36, 48, 64)),) * 2, Image.Resampling.BILINEAR)
    levels = np.asarray(seen.resize((SEEN_PX, SEEN_PX), Image.Resampling.BILINEAR))
    noisy = torch.from_numpy(levels.copy()).permute(2, 0, 1).float() / 255
    return (noisy + rng.uniform(0, 0.05) * torch.randn(noisy.shape)).clamp(0, 1)


def drained(image: Image.Image, level: float) -> Image.Image:
    """Return a drawing without its colours, darker by a factor."""
    grey = Image.merge("RGB", [image.convert("L").point(lambda value: round(value * level))] * 3)
    grey.putalpha(image.getchannel("A"))
    return grey


def make_set(count: int, seed: int, others: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
    """Return scenes, half of which show the thing, and whether each does."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    shows = [number % 2 == 0 for number in range(count)]
    return torch.stack([make_example(rng, others, it) for it in shows]), torch.tensor(shows).float()


def make_network() -> nn.Sequential:
    """Return a small convolutional network with one answer."""
    layers: list[nn.Module] = []
    widths = (3, 16, 32, 64, 96)
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 1))


def train_classifier(others: Sequence[Image.Image]) -> tuple[nn.Sequential, Share]:
    """Return a classifier of the thing, and how often it is right about scenes that it never saw."""
    x, y = make_set(NUM_TRAINING, 1, others)
    torch.manual_seed(0)
    network = make_network()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    steps = EPOCHS * (NUM_TRAINING // 50)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps)
    for _ in range(EPOCHS):
        for some in torch.split(torch.randperm(NUM_TRAINING), 50):
            loss = F.binary_cross_entropy_with_logits(network(x[some])[:, 0], y[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    network.eval()
    unseen, answers = make_set(NUM_VALIDATION, 2, others)
    return network, Share.of(
        (said == bool(true)) for said, true in zip(recognises(network, unseen), answers, strict=True)
    )


@torch.no_grad()
def recognises(network: nn.Sequential, x: Tensor) -> list[bool]:
    """Return whether each scene shows the thing, by the classifier."""
    return [bool(answer > 0) for some in torch.split(x, 50) for answer in network(some)[:, 0]]


def as_seen(image: Image.Image) -> Tensor:
    """Return a drawn picture over white, as the classifier sees it."""
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    small = page.convert("RGB").resize((SEEN_PX, SEEN_PX), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255


def known_drawings(bundle: Bundle) -> list[Image.Image]:
    """Return the drawings that the model carries of what taught it, or what it draws where it carries none."""
    drawings = bundle.drawings
    if drawings is None:
        return [picture.image.convert("RGBA").resize((PX, PX)) for picture in assemble(bundle).generate("a fox", n=32)]
    rng = random.Random(0)
    chosen = rng.sample(range(len(drawings.pictures)), min(400, len(drawings.pictures)))
    return [to_image(drawings.pictures[number]).resize((PX, PX)) for number in chosen]


# The measurement. ----------------------------------------------------------------------------------------------------


def draw_all(model: Sumi, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """Draw each prompt once, from seed + its number."""
    drawn = []
    for number, prompt in enumerate(prompts):
        drawn.append(model.generate(prompt, seed=seed + number)[0].image)
        if (number + 1) % 10 == 0:
            click.echo(f"drawn {number + 1} of {len(prompts)}", err=True)
    return drawn


def compare_exams(plain: Sumi, taught: Sumi, n: int) -> dict[str, Any]:
    """Sit the exam with and without the adapter on the same questions and seeds."""
    judge, syllabus = load_judge(None), load_syllabus(None, load_judge(None))
    results = [run_exam(prompt_drawer(model.pipeline), judge, syllabus, MAIN, n) for model in (plain, taught)]
    right = [[grade.right for grade in result.grades] for result in results]
    shares = [Share.of(some) for some in right]
    return {"before": shares[0].to_json(), "after": shares[1].to_json(), "gain": Gain.of(*right).to_json()}


@click.command()
@click.option("--minutes", type=float, default=20.0, show_default=True, help="Of teaching.")
@click.option("--steps", type=int, help="Steps of teaching, in place of minutes.")
@click.option("--name", default="wug-benchmark", show_default=True, help="Of the adapter; one that is there is used.")
@click.option("--seed", type=int, default=100, show_default=True, help="Of the drawn pictures.")
@click.option("--exam", "n", type=int, default=40, show_default=True, help="Questions a category; 0 for none.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/teaching"), show_default=True)
def main(minutes: float, steps: int | None, name: str, seed: int, n: int, out: Path) -> None:
    """Teach the thing, draw 50 prompts of it, and say how many a classifier recognises."""
    out.mkdir(parents=True, exist_ok=True)
    bundle, drawings = Bundle.load(default_bundle()), out / "drawings"
    drawings.mkdir(exist_ok=True)
    for number in range(12):
        draw_creature(random.Random(number)).save(drawings / f"{number:02}.png")
    started, processor = time.perf_counter(), time.process_time()
    try:
        adapter = open_adapter(name)
    except Exception:
        made = teach_word(drawings, "a wug", bundle, TeachSettings(minutes=minutes, steps=steps), name=name)
        if made is None:
            raise click.Abort from None
        adapter = made
    spent = {"seconds": time.perf_counter() - started, "processor_s": time.process_time() - processor}
    plain = assemble(bundle)
    taught = plain.with_adapters(name)
    prompts = make_prompts("wug")
    pictures = draw_all(taught, prompts, seed)
    control = draw_all(plain, [prompt.replace("wug", adapter.record.stand_in) for prompt in prompts[::5]], seed)
    (out / "pictures").mkdir(exist_ok=True)
    for number, image in enumerate([*pictures, *control]):
        image.save(out / "pictures" / f"{number:03}.png")
    others = known_drawings(bundle)
    classifier, accuracy = train_classifier(others)
    click.echo(f"the classifier is right about {accuracy} of scenes that it never saw", err=True)
    seen = recognises(classifier, torch.stack([as_seen(image) for image in pictures]))
    mistaken = recognises(classifier, torch.stack([as_seen(image) for image in control]))
    captions = [f"{'yes' if it else 'NO'}: {prompt}" for it, prompt in zip(seen, prompts, strict=True)]
    save_png(out / "drawn.png", contact_sheet(pictures, captions))
    report: dict[str, Any] = {
        "adapter": adapter.record.to_json(), "bytes": adapter.path.stat().st_size, **spent,
        "classifier": accuracy.to_json(), "recognised": Share.of(seen).to_json(),
        "recognised_without": Share.of(mistaken).to_json(),
        "of_colours": Share.of(seen[:20]).to_json(), "in_company": Share.of(seen[20:]).to_json(),
        "prompts": dict(zip(captions, seen, strict=True)),
    }  # fmt: skip
    if n:
        report["exam"] = compare_exams(plain, taught, n)
    (out / "teaching.json").write_text(json.dumps(report, indent=1) + "\n")
    click.echo(json.dumps({key: value for key, value in report.items() if key != "prompts"}, indent=1))


if __name__ == "__main__":
    main()
