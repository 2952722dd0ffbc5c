"""The model card of the sticker model; the rest of the card is read from the bundle itself."""

from __future__ import annotations

from sumi.bundles import Card
from sumi.data.split import Combination, is_held_out
from sumi.systems.sticker.presets import FIRST, STAGES
from sumi.systems.sticker.train_sticker import StickerTraining
from sumi.training import read_config

__all__ = ["card"]


def _history(workshop: StickerTraining, stage: str) -> str:
    """How a stage came by its weights."""
    plan = read_config(workshop.folder / stage)
    if plan is None:
        fitted = workshop.is_fitted(stage)
        return "fitted in one go" if fitted else "as it was in the model that training went on from"
    further = workshop.start is not None and stage in workshop.start.parts
    more = ", further than the model that training went on from" if further else ""
    return f"{plan.num_steps:,} steps of {plan.batch_size}, {plan.num_steps * plan.batch_size:,} examples{more}"


def card(workshop: StickerTraining) -> Card:
    """The card of a finished run."""
    plans = workshop.preset.plans
    stages = [one for stage in STAGES for one in (FIRST.get(stage, ""), stage) if one == stage or one in plans]
    lines = [f"- {stage}: {_history(workshop, stage)}" for stage in stages]
    held_out = [name for name in workshop.vocabulary.names if is_held_out(Combination("concept", (name,)))]
    taught = len(workshop.vocabulary) - len(held_out)
    return Card(
        title="sticker",
        summary=(
            f"Draws stickers on transparent backgrounds from words: {taught} things, alone or "
            "together, in colours, counts, places and styles."
        ),
        training=(
            f"Trained from scratch with `sumi train sticker --preset {workshop.preset.name}` on scenes composed from "
            "the artwork named below; no other picture, text or weight was used.\n\n" + "\n".join(lines)
        ),
        limits=(
            "It knows the words in vocabulary.json and little else. It draws in the manner of the emoji it learned "
            "from; faces of people are theirs, not anybody's. Long words, crowded scenes and fine print fail."
        ),
    )
