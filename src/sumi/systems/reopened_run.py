"""A run opened again: what each of its stages learns, from the same pictures, with the weights that it has now.

How it was started stands in its settings (`sumi.systems.run_settings`); nothing is written, and nothing is trained.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sumi.bundles import Bundle
from sumi.curation.admission import TrainingRules
from sumi.curation.picture_rights import read_opt_outs
from sumi.errors import SumiError
from sumi.systems import SYSTEMS, Examples, Method, method_for
from sumi.systems.dataset import TrainingData, of_artwork, of_own_pictures
from sumi.systems.run_folder import RunFolder, StageRun
from sumi.systems.run_record import open_record
from sumi.systems.sticker.presets import preset
from sumi.systems.sticker.train_sticker import StickerTraining
from sumi.systems.unclip.adapted import extend
from sumi.systems.unclip.own_pictures import PRESETS
from sumi.systems.unclip.own_training import prepare
from sumi.systems.unclip.teach import TeachSettings, objective_of, open_lesson, own_pictures
from sumi.training import Objective, load_ema
from sumi.training.checkpoint import latest_checkpoint

__all__ = ["OpenedStage", "reopen_run"]

MOST_EXAMPLES = 512
"""Examples that a system's stages get, spread over all of them."""

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""


@dataclass(frozen=True)
class OpenedStage:
    """A stage as it is trained: its objective, whose model has the averaged weights, and its weights at first."""

    run: StageRun
    objective: Objective
    beginning: Mapping[str, torch.Tensor]

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.objective.model

    def fresh(self) -> nn.Module:
        """Return a copy of the network with the weights of its beginning."""
        network = copy.deepcopy(self.model)
        network.load_state_dict(self.beginning)
        return network


def reopen_run(run: RunFolder, progress: Progress = lambda what, done, of: None) -> dict[str, OpenedStage]:
    """Return the stages of a run that have weights, by name.

    Raises:
        SumiError: when the run does not say how it was started, or its pictures are not there or are others by now.
    """
    command = run.settings.get("command")
    if command == "sticker":
        return reopen_sticker(run, progress)
    if command == "teach":
        return reopen_lesson(run, progress)
    if command in ("system", "unclip"):
        return reopen_system(run, progress)
    raise SumiError("the run does not say how it was started: an earlier version of Sumi began it")


def open_stage(stage: StageRun, objective: Objective) -> OpenedStage:
    """Load the averaged weights of a stage into its network, and keep those of its beginning."""
    model = objective.model
    beginning = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(load_ema(stage.folder, model))
    return OpenedStage(stage, objective, beginning)


def trained_stages(run: RunFolder) -> dict[str, StageRun]:
    """Return the stages that have a checkpoint."""
    return {stage.name: stage for stage in run.stages if latest_checkpoint(stage.folder) is not None}


# Systems -----------------------------------------------------------------------------------------------------


def reopen_system(run: RunFolder, progress: Progress) -> dict[str, OpenedStage]:
    """Open a run of `sumi train SYSTEM`."""
    method, data = open_method(run, progress)
    open_record(run.folder, SYSTEMS[run.kind], data)  # refuses other pictures by name
    examples, trained, parts = some_examples(data.examples), trained_stages(run), dict[str, nn.Module]()
    found = dict[str, OpenedStage]()
    for name in method.stages_for(data.size_px):
        if name not in trained:
            break
        progress("opening stages", len(found), len(trained))
        torch.manual_seed(0)
        with torch.no_grad():
            found[name] = open_stage(trained[name], method.objective(name, examples, parts))
        parts[name] = copy.deepcopy(found[name].model).eval()
    return found


def open_method(run: RunFolder, progress: Progress) -> tuple[Method, TrainingData]:
    """Return the method of a run and what it learns from."""
    settings, system = run.settings, SYSTEMS.get(run.kind)
    place, size_px = str(settings.get("pictures", "")), run.record.get("data", {}).get("size_px")
    if system is None or not place or not size_px:
        raise SumiError("the run does not say which pictures it learns from")
    options: dict[str, Any] = {"max_broken": settings.get("max_broken", 0.05), "rules": rules_of(settings)}
    if place == "scenes":
        data = of_artwork(Path(settings["artwork"]), run.folder / "scenes", size_px, progress)
    elif settings["command"] == "unclip":
        scratch = bool(settings.get("from_scratch"))
        start = None if scratch else Bundle.load(Path(settings["start"]))
        made = prepare(
            place,
            PRESETS[settings["preset"]],
            start,
            size_px=size_px if scratch else None,
            progress=progress,
            **options,
        )
        return made.method, made.data
    else:
        data, _ = of_own_pictures(place, size_px, system, progress, **options)
    return method_for(system, data.examples), data


def rules_of(settings: Mapping[str, Any]) -> TrainingRules:
    """Return which pictures a run may learn from."""
    declared = {name: str(settings[name]) for name in ("licence", "author") if settings.get(name)}
    opt_outs = read_opt_outs([Path(path) for path in settings.get("opt_outs", [])])
    return TrainingRules(bool(settings.get("allow_unlicensed")), opt_outs, declared)


def some_examples(examples: Examples) -> Examples:
    """Return at most 512 examples, spread over all of them."""
    count = len(examples.pictures)
    if count <= MOST_EXAMPLES:
        return examples
    rows = torch.linspace(0, count - 1, MOST_EXAMPLES).long()
    captions = [examples.captions[row] for row in rows.tolist()] if len(examples.captions) else []
    labels = None if examples.labels is None else examples.labels[rows]
    return replace(examples, pictures=examples.pictures[rows.numpy()], captions=captions, labels=labels)


# The sticker model, and a taught word ------------------------------------------------------------------------


def reopen_sticker(run: RunFolder, progress: Progress) -> dict[str, OpenedStage]:
    """Open a run of `sumi train sticker`."""
    settings = run.settings
    start = Bundle.load(Path(settings["start"])) if settings.get("start") else None
    training = StickerTraining(
        preset(settings["preset"]), Path(settings["artwork"]), run.folder, "cpu", progress, start, settings["artists"]
    )
    with torch.no_grad():
        return {name: open_stage(stage, training.objective(name)) for name, stage in trained_stages(run).items()}


def reopen_lesson(run: RunFolder, progress: Progress) -> dict[str, OpenedStage]:
    """Open a run of `sumi teach`, which keeps its weights until it is finished."""
    trained = trained_stages(run)
    if not trained:
        raise SumiError("the word is taught, and of its run only curves and sheets are kept")
    lesson, values = run.lesson, {entry.name for entry in fields(TeachSettings)}
    settings = TeachSettings(**{name: value for name, value in lesson.items() if name in values})
    bundle = Bundle.load(Path(run.settings["start"]))
    taught = open_lesson(run.settings["pictures"], lesson["concept"], bundle, progress, rules_of(run.settings))
    if list(taught.digests) != lesson["pictures"]:
        raise SumiError(f"the pictures in {run.settings['pictures']} are others by now")
    made = extend(bundle, taught.tokenizer, [taught.word], [taught.stand_in], None)
    own = own_pictures(run.folder, bundle, taught.tokenizer, settings, progress)
    objective = objective_of(taught, made, own, settings, progress)
    return {name: open_stage(stage, objective) for name, stage in trained.items()}
