"""Reading a prompt as a scene: its things and their relations, by the words that a model was taught.

    "2 elephants under a tree" -> elephant x2 under tree        "a cat with a crown" -> cat, wearing a crown

A learned planner says where things usually stand. What it was never shown, counts beside a relation or "behind" and
"between", is placed by rules (`placement`), which ask no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sumi.conditioning import Lexicon, ParsedPrompt, ThingPhrase, parse_prompt, write_caption
from sumi.layout.scene import OWN, Link, RelatedScene, SceneThing
from sumi.layout.wear import is_wearable

__all__ = ["SceneReader", "read_scene"]

RELATIONS = {
    "": "beside", "and": "beside", "to the left of": "left of", "on the left of": "left of", "left of": "left of",
    "to the right of": "right of", "on the right of": "right of", "right of": "right of", "above": "above",
    "over": "above", "below": "below", "under": "under", "beneath": "under", "on": "on", "on top of": "on",
    "standing on": "on", "inside": "inside", "in": "inside", "wearing": "wearing", "holding": "holding",
    "riding": "riding", "touching": "touching", "apart from": "apart", "apart": "apart", "behind": "behind",
    "in front of": "in front of", "between": "between", "with": "with",
}  # fmt: skip
"""What is said between two things, and the relation that it means."""
UNSAID = {"behind": "and", "in front of": "and", "between": "and"}
"""Relations that captions do not say, and what they say instead."""
OPEN = frozenset(
    "box package basket bucket cup mug bowl pot pan bathtub cart wastebasket bin boat canoe sled nest bag handbag"
    " backpack vase wagon bed".split()
)
"""What is open above, so that a thing inside looks out of it; a thing inside anything else is shown before it."""
SCALES = {"small": 0.6, "tiny": 0.5, "little": 0.6, "big": 1.3, "large": 1.3, "huge": 1.5}


@dataclass(frozen=True)
class SceneReader:
    """Reads prompts as scenes, with the words of one model."""

    lexicon: Lexicon

    def __call__(self, prompt: str) -> RelatedScene | None:
        """Return the scene of a prompt; None for one that is no scene of several related things."""
        return read_scene(prompt, self.lexicon)

    def caption(self, prompt: str) -> str:
        """Return a prompt with the relations that the model's captions never say replaced by ones that they say."""
        taught = self.lexicon.record.get("relations", ())
        for relation, said in UNSAID.items():
            if relation not in taught:
                prompt = re.sub(rf"\b{relation}\b(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)", said, prompt, flags=re.IGNORECASE)
        return prompt


def read_scene(prompt: str, lexicon: Lexicon) -> RelatedScene | None:
    """Return the scene of a prompt by a lexicon; None for one thing, for letters, and for relations of no rule."""
    parsed = parse_prompt(prompt, lexicon)
    if len(parsed.things) < 2 or any(thing.letters or not thing.noun for thing in parsed.things):
        return None
    links = _links(parsed.things, lexicon)
    if links is None:
        return None
    things = [_scene_thing(thing, parsed, lexicon) for thing in parsed.things]
    for link in links:
        if link.relation == "wearing":
            owner, worn = things[link.owner], link.things[0]
            things[worn] = replace(things[worn], count=max(things[worn].count, owner.count))
    return RelatedScene(tuple(things), tuple(links))


def _scene_thing(thing: ThingPhrase, parsed: ParsedPrompt, lexicon: Lexicon) -> SceneThing:
    """Return a thing with the caption that draws one of it alone, in the style of the picture."""
    alone = replace(thing, count="", size="", relation="", plural=False)
    caption = write_caption(ParsedPrompt([alone], parsed.styles), lexicon)
    count = lexicon.counts.index(thing.count) + 2 if thing.count in lexicon.counts else 1
    return SceneThing(caption, thing.noun, count, SCALES.get(thing.size, 1.0))


def _links(things: Sequence[ThingPhrase], lexicon: Lexicon) -> list[Link] | None:
    """Return how each thing but the first is joined; None where a relation has no rule."""
    links: list[Link] = []
    owner = 0
    for place, thing in enumerate(things[1:], start=1):
        last = links[-1] if links else None
        if last is not None and last.relation == "between" and len(last.things) == 1 and thing.relation == "and":
            links[-1] = replace(last, things=(*last.things, place))
            continue
        relation = _relation(thing, last)
        if relation is None:
            return None
        links.append(Link(relation, (place,), owner))
        if relation not in OWN:
            owner = place
    pairs = [link for link in links if link.relation == "between"]
    counted = all(len(link.things) == 2 or _count(things[link.things[0]], lexicon) == 2 for link in pairs)
    return links if counted else None


def _relation(thing: ThingPhrase, last: Link | None) -> str | None:
    """Return the relation of a thing to what is before it; None where there is no rule."""
    said = RELATIONS.get(thing.relation)
    dressed = said in ("with", "inside") or (said == "beside" and last is not None and last.relation == "wearing")
    if dressed and is_wearable(thing.noun):
        return "wearing"
    if said == "inside":
        return "inside" if OPEN & set(thing.noun.casefold().split()) else "within"
    return None if said == "with" else said


def _count(thing: ThingPhrase, lexicon: Lexicon) -> int:
    return lexicon.counts.index(thing.count) + 2 if thing.count in lexicon.counts else 1
