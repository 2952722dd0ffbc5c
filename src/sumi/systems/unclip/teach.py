"""`sumi teach`: a folder of pictures and a name in, one small adapter file out, in a budget of minutes.

<adapters>/mochi.teaching/teach.json        what is taught, and to which model
<adapters>/mochi.teaching/own.safetensors   the model's own pictures of other things
<adapters>/mochi.teaching/checkpoints/ ...  the run, which may be killed at any moment and goes on
<adapters>/mochi.safetensors, mochi.png     the adapter, and what it draws
<adapters>/mochi.taught/                    the curves and sheets of the run that made it, for `sumi report mochi`
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save

from sumi import __version__
from sumi.atomic_file import write_atomic
from sumi.bundles import Adapter, AdapterRecord, Bundle, adapter_path, save_adapter
from sumi.bundles.adapter import NAME
from sumi.bundles.adapter_folder import LOG_SUFFIX, RUN_SUFFIX
from sumi.bundles.json_file import read_object, write_json
from sumi.bundles.tensors import TensorFile
from sumi.conditioning import Lexicon, WordTokenizer
from sumi.curation.admission import TrainingAdmission, TrainingRules, admit_pictures
from sumi.curation.picture_rights import count_rights
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_array import PictureArray, read_pictures
from sumi.data.picture_dataset import PictureRecord
from sumi.data.words import article
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels, resize
from sumi.nn import LoRA
from sumi.pipelines import Model
from sumi.pipelines.steps import drive
from sumi.systems.objectives import CaptionFeatures
from sumi.systems.run_record import write_data_report
from sumi.systems.run_settings import absolute_place, write_settings
from sumi.systems.unclip.adapted import Extended, extend
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.model import assemble, extended_artist, stage_settings
from sumi.systems.unclip.new_word import NewWord, parse_concept, stand_ins
from sumi.systems.unclip.teaching import OwnPicture, TeachingObjective, draw_own, encode_pictures
from sumi.systems.unclip.teaching_set import own_prompts, vary_pictures
from sumi.training import TimeBudget, TrainConfig, is_finished, load_ema, run, trained_seconds
from sumi.training.loop import Report
from sumi.trust import refuse_never

__all__ = ["TeachSettings", "teach_word"]

RECORD, OWN = "teach.json", "own.safetensors"
READ_AT = 4
"""Pictures are read at so many times the size that the decoder draws, and varied before they are made small."""
FEWEST, MOST_TAUGHT = 2, 2000
VARIATIONS = (384, 2048)
ENDING_S = 4.0
MAX_NOTES = 10
PLAN = TrainConfig(
    num_steps=1, batch_size=32, lr=2e-3, warmup_steps=30, decay_fraction=0.5, weight_decay=0.0, ema=0.99,
    checkpoint_s=60.0, log_s=5.0,
)  # fmt: skip
COMPANY = ("", "red ", "blue ", "green ")
"""How the thing is asked for on a sheet of samples."""


@dataclass(frozen=True)
class TeachSettings:
    """How a new thing is taught.

    Attributes:
        minutes: the budget, preparation and all sessions included.
        steps: steps of training in place of a budget.
        rank: of the changes (LoRA).
        alpha: the changes are scaled by alpha / rank.
        lr: peak learning rate.
        own: how many pictures of other things the model draws, to be held to.
        seed: of every choice.
    """

    minutes: float = 20.0
    steps: int | None = None
    rank: int = 16
    alpha: float = 16.0
    lr: float = 2e-3
    own: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """What is taught: the pictures, the word, the thing it stands in for, and the model."""

    album: PictureArray
    word: NewWord
    stand_in: str
    bundle: Bundle
    tokenizer: WordTokenizer
    digests: tuple[str, ...]
    admission: TrainingAdmission

    def notes(self) -> list[str]:
        """Return lines for people: what is learned, and from which pictures."""
        left_out = [f"left out: {line}" for line in self.album.skipped]
        note = self.admission.note
        return [
            *left_out[:MAX_NOTES],
            *([f'{note} The adapter says so; --licence "own work" states whose they are'] if note else []),
            f"{len(self.album)} pictures teach the word {self.word.word!r}, first taken for {article(self.stand_in)}",
        ]


Say = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def teach_word(
    pictures: str | Path,
    concept: str,
    bundle: Bundle,
    settings: TeachSettings | None = None,
    *,
    name: str | None = None,
    folder: Path | None = None,
    rules: TrainingRules | None = None,
    fresh: bool = False,
    finish: bool = False,
    quiet: bool = False,
    say: Say = lambda what, done, of: None,
    note: Callable[[str], None] = lambda line: None,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Adapter | None:
    """Teach a model what a few pictures show.

    Args:
        pictures: a folder of them; NAME.txt beside a picture describes it.
        concept: what they show, with a word that the model does not know: "my cat Mochi".
        bundle: the model.
        settings: how; by default those of `TeachSettings`.
        name: of the adapter; by default the new word.
        folder: for adapters; by default the person's own.
        rules: which pictures may be taught; by default those of `TrainingRules`.
        fresh: begin again where an unfinished run is there.
        finish: end an unfinished run with what it has learned.
        quiet: print no progress of training.
        say: told what is prepared.
        note: called with lines for people.
        on_report: called with each report of the training.

    Returns:
        The adapter; None where the run was stopped, and goes on when called again.

    Raises:
        SumiError: there are too few pictures, the name is known already, or another run is in the way.
    """
    began, settings = time.perf_counter(), settings or TeachSettings()
    check_settings(settings)
    refuse_never(concept)
    path = None if name is None else adapter_path(name, folder)
    lesson = open_lesson(pictures, concept, bundle, say, rules)
    if path is None:
        if not re.fullmatch(NAME, lesson.word.word):
            raise SumiError(f"{lesson.word.word!r} cannot name a file: give the adapter a name with --name")
        path = adapter_path(lesson.word.word, folder)
    for line in lesson.notes():
        note(line)
    home = path.with_name(f"{path.stem}{RUN_SUFFIX}")
    if fresh:
        shutil.rmtree(home, ignore_errors=True)
    open_run(home, lesson, settings)
    asked: dict[str, Any] = {} if rules is None else {"allow_unlicensed": rules.allow_unlicensed, **rules.declared}
    place = absolute_place(str(pictures))
    write_settings(home, "teach", pictures=place, start=bundle.folder, name=path.stem, model=path, **asked)
    write_data_report(home, {**lesson.album.to_json(), **rights_of(lesson)})
    made = extend(bundle, lesson.tokenizer, [lesson.word], [lesson.stand_in], None)
    own = own_pictures(home, bundle, lesson.tokenizer, settings, say)
    objective = objective_of(lesson, made, own, settings, say)
    if not (finish and (home / "checkpoints").is_dir()):
        spent = time.perf_counter() - began
        plan, budget = plan_of(settings, home, spent)
        done = run(objective, plan, home, extend=True, quiet=quiet, budget=budget, on_report=on_report)
        if not done:
            return None
    return export(path, home, objective, lesson, settings)


def check_settings(settings: TeachSettings) -> None:
    """Raise SumiError for a setting out of range."""
    bounds = {"minutes": (0.05, 10_000), "rank": (1, 256), "alpha": (0.01, 4096), "lr": (1e-6, 1.0), "own": (8, 2000)}
    for name, (low, high) in bounds.items():
        if not low <= getattr(settings, name) <= high:
            raise SumiError(f"{name} should be from {low:g} to {high:g}, not {getattr(settings, name):g}")


def open_lesson(
    pictures: str | Path, concept: str, bundle: Bundle, say: Say, rules: TrainingRules | None = None
) -> Lesson:
    """Read the pictures that may be taught, and find the new word and its stand-in (SumiError)."""
    tokenizer, lexicon = bundle.tokenizer(), Lexicon.of_record(bundle.vocabulary)
    if not isinstance(tokenizer, WordTokenizer):
        raise SumiError(f"the model {bundle.name} has no tokenizer of words, which could learn one more")
    word = parse_concept(concept, lexicon, tokenizer)
    model = assemble(bundle)
    size_px = READ_AT * model.pipeline.size_px
    found = open_dataset(pictures)
    admission = admit_pictures(found, rules or TrainingRules(), lambda done, of: say("rights", done, of))
    album = read_pictures(admission.dataset, size_px, lambda done, of: say("reading pictures", done, of))
    album = replace(album, left_out=tuple(one.refusal for one in admission.refused))
    if not FEWEST <= len(album) <= MOST_TAUGHT:
        raise SumiError(
            f"{album.place} has {len(album)} pictures that can be read: teaching takes {FEWEST} to {MOST_TAUGHT}, "
            "and a dozen is a good number"
        )
    refuse_never(*album.captions)
    digests = tuple(map(digest_of, album.records))
    taught = {one.thing for one in stand_ins(lexicon, tokenizer)}
    kind = word.kind if word.kind in taught else nearest_thing(model, album, sorted(taught))
    return Lesson(album, word, kind, bundle, tokenizer, digests, admission.of(album.names))


def rights_of(lesson: Lesson) -> dict[str, Any]:
    """Return whose the pictures are, and how many name no licence."""
    rows = count_rights([one.to_json() for one in lesson.admission.rights])
    return {"rights": rows, "rights_note": lesson.admission.note}


def digest_of(record: PictureRecord) -> str:
    """Return the sha256 of a picture's file; of one that a server has rewritten, that of the file it was sent."""
    sent = record.fields.get("original_sha256")
    if isinstance(sent, str) and re.fullmatch(r"[0-9a-f]{64}", sent):
        return sent
    return hashlib.sha256(record.read()).hexdigest()


@torch.no_grad()
def nearest_thing(model: Sumi, album: PictureArray, things: list[str]) -> str:
    """Return the taught thing that CLIP finds nearest to the pictures."""
    if not things:
        raise SumiError(f"the model {model.model.name} was taught no thing that a new word could be compared with")
    small = resize(from_levels(torch.from_numpy(album.pictures)), [model.pipeline.size_px] * 2).clamp(-1, 1)
    z_i = F.normalize(torch.cat([model.pipeline.see(some) for some in torch.split(small, 32)]).mean(dim=0), dim=0)
    nouns = [model.lexicon.singular(thing) if model.lexicon.structured else thing for thing in things]
    z_t = torch.cat([model.pipeline.read(nouns[start : start + 128]).z_t for start in range(0, len(nouns), 128)])
    return things[int((z_t @ z_i).argmax())]


def open_run(home: Path, lesson: Lesson, settings: TeachSettings) -> None:
    """Begin the folder of a run, or check that the one there is the same (SumiError)."""
    same = {entry.name: getattr(settings, entry.name) for entry in fields(settings)}
    for budget in ("minutes", "steps"):
        del same[budget]
    what: dict[str, Any] = {
        "concept": lesson.word.concept, "stand_in": lesson.stand_in, "pictures": list(lesson.digests),
        "captions": list(lesson.album.captions), "base": dict(lesson.bundle.hashes), **same,
    }  # fmt: skip
    path = home / RECORD
    if path.is_file():
        there = read_object(path)
        changed = [key for key in what if there.get(key) != what[key]]
        if changed:
            raise SumiError(
                f"{home} holds an unfinished run with other {', '.join(changed)}: --fresh begins again, or give this "
                "one another --name"
            )
        return
    home.mkdir(parents=True, exist_ok=True)
    write_json(path, what)


def own_pictures(
    home: Path, bundle: Bundle, tokenizer: WordTokenizer, settings: TeachSettings, say: Say
) -> list[OwnPicture]:
    """Return the model's own pictures of other things, drawn once and kept with the run."""
    model, path = assemble(bundle), home / OWN
    prompts = own_prompts(model.lexicon, settings.own, settings.seed)
    if not path.is_file():
        work = drive(draw_own(model.batched(16), prompts, settings.seed))
        done: list[OwnPicture] = []
        while not done:
            try:
                event = next(work)
            except StopIteration as end:
                done = end.value
            else:
                part = getattr(event, "stage", "")
                say(f"drawing {len(prompts)} known things: {part}", getattr(event, "step", 0), getattr(event, "of", 1))
        stacked = {name: torch.stack([getattr(one, name) for one in done]) for name in ("latents", "levels")}
        write_atomic(path, save(stacked))
    file = TensorFile(path)
    return [OwnPicture(*one) for one in zip(prompts, file.tensor("latents"), file.tensor("levels"), strict=True)]


def objective_of(
    lesson: Lesson, made: Extended, own: list[OwnPicture], settings: TeachSettings, say: Say
) -> TeachingObjective:
    """Return what is learned."""
    model = extended_artist(lesson.bundle, made, lesson.tokenizer, Model(lesson.bundle.name, lesson.bundle.hashes))
    album, size_px = lesson.album, model.pipeline.size_px
    count = min(VARIATIONS[1], max(VARIATIONS[0], 32 * len(album)))
    say("varying pictures", 0, count)
    company = [(one.prompt, one.levels) for one in own if one.prompt.startswith(("a ", "an "))]
    varied = vary_pictures(
        album.pictures, album.captions, lesson.word, model.lexicon, count, size_px, settings.seed, company
    )
    taught = encode_pictures(made, varied.pictures, varied.captions)
    kept = encode_pictures(made, torch.stack([one.levels for one in own]).numpy(), [one.prompt for one in own])
    kept = replace(kept, latents=torch.stack([one.latents for one in own]).numpy())
    say("varying pictures", count, count)
    torch.manual_seed(settings.seed)
    clip = made.clip
    rows = clip.text.tokens.weight[-2:]
    changed = {part: made.parts[part] for part in ("prior", "decoder") if part in made.parts}
    lora = LoRA(changed, settings.rank, settings.alpha, rows)
    prompts = [f"{lead}{lesson.word.word}" for lead in COMPANY]
    prompts = [("a " if prompt[0] not in "aeiou" else "an ") + prompt for prompt in prompts]
    words = CaptionFeatures(clip, kept.ids).once()
    return TeachingObjective(lora, made, taught, kept, words, stage_settings(lesson.bundle), model, tuple(prompts))


def plan_of(settings: TeachSettings, home: Path, spent_s: float) -> tuple[TrainConfig, TimeBudget | None]:
    """Return the plan and the budget of what is left of a run."""
    plan = replace(PLAN, lr=settings.lr, seed=settings.seed, picture_s=max(20.0, 15.0 * settings.minutes))
    if settings.steps is not None:
        return replace(plan, num_steps=settings.steps), None
    left = 0.0 if is_finished(home) else 60 * settings.minutes - trained_seconds(home) - spent_s
    return plan, TimeBudget(left, reserve=ENDING_S)


def export(path: Path, home: Path, objective: TeachingObjective, lesson: Lesson, settings: TeachSettings) -> Adapter:
    """Write the adapter from the averaged weights of a run, with a picture of what it draws; remove the run."""
    lora = objective.model
    lora.load_state_dict(load_ema(home, lora))
    bundle, sheets = lesson.bundle, sorted((home / "pictures").glob("*.png"))
    record = AdapterRecord(
        name=path.stem,
        concept=lesson.word.concept,
        word=lesson.word.word,
        plural=lesson.word.plural,
        stand_in=lesson.stand_in,
        base=bundle.name,
        hashes={part: bundle.hashes[part] for part in ("clip", "prior", "decoder", "codec") if part in bundle.hashes},
        rank=settings.rank,
        alpha=settings.alpha,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        pictures=lesson.digests,
        steps=steps_of(home),
        version=__version__,
        **rights_of(lesson),
    )
    save_adapter(path, lora.named_tensors(), lora.words, record)
    if sheets:
        write_atomic(path.with_suffix(".png"), sheets[-1].read_bytes())
    keep_log(home, path.with_name(f"{path.stem}{LOG_SUFFIX}"))
    return Adapter(path)


def keep_log(home: Path, log: Path) -> None:
    """Turn the folder of a finished run into its log: what can be read stays, weights and own pictures go."""
    shutil.rmtree(home / "checkpoints", ignore_errors=True)
    shutil.rmtree(home / "tensorboard", ignore_errors=True)
    (home / OWN).unlink(missing_ok=True)
    shutil.rmtree(log, ignore_errors=True)
    home.rename(log)


def steps_of(home: Path) -> int:
    """Return how many steps the newest checkpoint of a run has done."""
    names = [path.name for path in (home / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)
