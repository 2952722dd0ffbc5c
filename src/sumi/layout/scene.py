"""Related things: what a scene shows, and how its things stand to each other.

    "two cats with crowns under a tree" -> [cat x2, crown, tree], crown worn by cats, (cats, crowns) under tree

The things are in the order of the prompt. A relation joins one or two things to all things before them, but what is
worn, held or ridden belongs to one thing.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OWN", "Link", "RelatedScene", "SceneThing"]

OWN = ("wearing", "holding", "riding")
"""Relations to one thing, and not to all before."""


@dataclass(frozen=True)
class SceneThing:
    """A thing: the prompt that draws it alone, its name, how many there are, and how large it is beside the others."""

    prompt: str
    noun: str
    count: int = 1
    scale: float = 1.0


@dataclass(frozen=True)
class Link:
    """The relation of a thing to what comes before it.

    Args:
        relation: beside, left of, right of, above, below, on, inside, within, under, behind, in front of, between,
            touching, apart, or one of OWN. Things are inside what hides a part of them, and within what does not.
        things: the places of the things that it joins: two after "between", else one.
        owner: the place of the thing that wears, holds or rides; of no account for other relations.
    """

    relation: str
    things: tuple[int, ...]
    owner: int = 0


@dataclass(frozen=True)
class RelatedScene:
    """Things, and the links that join them one after another to the thing at the place `first`."""

    things: tuple[SceneThing, ...]
    links: tuple[Link, ...] = ()
    first: int = 0

    @property
    def planned_well(self) -> bool:
        """Whether a learned planner knows all these relations, and counts beside none of them."""
        relations = {link.relation for link in self.links}
        alone = all(thing.count == 1 for thing in self.things)
        known = {"beside"} if not alone else {"beside", "left of", "right of", "above", "below", "apart"}
        return relations <= known

    def ordered(self, order: tuple[int, ...]) -> RelatedScene:
        """Return the same scene with its things in another order; its links stay in theirs."""
        place = {thing: number for number, thing in enumerate(order)}
        links = [Link(one.relation, tuple(place[k] for k in one.things), place[one.owner]) for one in self.links]
        return RelatedScene(tuple(self.things[thing] for thing in order), tuple(links), place[self.first])

    @property
    def back_to_front(self) -> tuple[int, ...]:
        """The places of the things in the order in which they are drawn."""
        order = [self.first]
        for link in self.links:
            if link.relation in ("wearing", "holding"):
                order.insert(order.index(link.owner) + 1, *link.things)
            elif link.relation == "riding":
                order.insert(order.index(link.owner), *link.things)
            elif link.relation in ("on", "within", "under", "in front of"):
                order = [*link.things, *order]
            else:
                order += link.things
        return tuple(order)
