"""The table of English words that ships with Sumi, cut from WordNet.

    word -> the drawable things it is a kind of, nearest first;  the drawable things that are nearest to it

`sumi data wordnet` builds the table. It reads WordNet 3.0 (Debian: `wordnet-base`), the anchors in `kinds.txt`, which
say by which synset each drawable thing is known, and the `emoji` package. Only the first sense of a noun counts, and
only where the noun is used more often than the verb or adjective that is spelt alike: nothing is better than absurd.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from sumi.atomic_file import write_atomic
from sumi.data.entries import Entry, named_entries
from sumi.data.split import hash_share
from sumi.data.words import slug
from sumi.errors import SumiError

__all__ = ["WordNet", "build", "one_step_relatives"]

WORDNET = Path("/usr/share/wordnet")
POS = ("noun", "verb", "adj", "adv")
PICTURED = {5, 6, 8, 13, 17, 18, 19, 20}
"""Lexicographer files of what can be drawn: animals, artifacts, body, food, objects, people, phenomena, plants."""
ANIMALS, FOOD, PLANTS, SUBSTANCES = 5, 13, 20, 27
DEEPEST_KIND = 8
"""Steps from a word to the thing it is a kind of, at most."""
FURTHEST_NEAR = 7
"""Steps from a word over a common ancestor to a thing that is near it, at most."""
MOST_NEAR = 5
ANYBODY = ("person", "man", "woman", "office worker")
"""These stand in for everybody who does something, but not for a name: Einstein is a scientist, Ford may be a car."""
TOO_GENERAL = (
    "entity", "physical_entity", "object", "whole", "living_thing", "organism", "artifact", "instrumentality", "matter",
    "substance", "thing", "causal_agent", "device", "structure", "person", "animal", "plant", "vascular_plant", "part",
    "container", "covering", "commodity", "consumer_goods", "food", "food#2", "solid", "implement", "equipment",
    "body_part",
)  # fmt: skip
"""Ancestors that bring together things which are not alike."""


@dataclass
class WordNet:
    """Nouns of WordNet: the senses of each lemma, the parents of each synset, and every word of any kind.

    `instances` are the synsets that are one of a kind, such as Everest and Einstein; `names` the words of each synset.
    """

    senses: dict[str, list[str]] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    file: dict[str, int] = field(default_factory=dict)
    instances: set[str] = field(default_factory=set)
    names: dict[str, list[str]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    uses: dict[tuple[str, str], int] = field(default_factory=dict)
    exceptions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> WordNet:
        """The WordNet of a folder; raises SumiError where it is not one."""
        net = cls()
        try:
            for pos in POS:
                for parts in _rows(folder / f"index.{pos}"):
                    net.words.add(parts[0])
                    if pos == "noun":
                        net.senses[parts[0]] = parts[-int(parts[2]) :]
                if pos != "adv":
                    for parts in _rows(folder / f"{pos}.exc"):
                        net.exceptions.setdefault(parts[0], parts[1])
            for line in _rows(folder / "data.noun"):
                net._take(line)
            for key, _, count in _rows(folder / "cntlist.rev"):
                lemma, _, rest = key.partition("%")
                kind = POS[min(int(rest[0]), 5) - 1] if rest[0] != "5" else "adj"
                net.uses[lemma, kind] = net.uses.get((lemma, kind), 0) + int(count)
        except OSError as error:
            raise SumiError(f"cannot read WordNet in {folder}: {error.strerror} (Debian: wordnet-base)") from None
        return net

    def _take(self, parts: list[str]) -> None:
        synset, count = parts[0], int(parts[3], 16)
        pointers = parts[5 + 2 * count :]
        number = int(parts[4 + 2 * count])
        above = [pointers[4 * k + 1] for k in range(number) if pointers[4 * k] in ("@", "@i")]
        self.parents[synset], self.file[synset] = above, int(parts[1])
        self.names[synset] = parts[4 : 4 + 2 * count : 2]
        if any(pointers[4 * k] == "@i" for k in range(number)):
            self.instances.add(synset)

    def meant(self, lemma: str) -> str | None:
        """The synset of what a word most often means, where that is a noun."""
        senses = self.senses.get(lemma)
        uses = {pos: self.uses.get((lemma, pos), 0) for pos in POS}
        if not senses or max(uses["verb"], uses["adj"], uses["adv"]) > uses["noun"]:
            return None
        first = senses[0]
        if self.file[first] in (FOOD, SUBSTANCES, PLANTS) or "fur" in self.above_names(first):
            first = next((sense for sense in senses if self.file[sense] == ANIMALS), first)
        if self.file[first] == PLANTS:  # a plum is the fruit, not its tree
            first = next((sense for sense in senses if self.file[sense] == FOOD), first)
        return first

    def above_names(self, synset: str) -> set[str]:
        """The first names of the parents of a synset that are furs."""
        return {"fur" for parent in self.parents[synset] if parent in self.senses.get("fur", ())}

    def above(self, synset: str, most: int) -> dict[str, int]:
        """Each ancestor of a synset, itself among them, and how many steps it is away, nearest first."""
        steps, queue = {synset: 0}, deque([synset])
        while queue:
            here = queue.popleft()
            for parent in self.parents[here]:
                if parent not in steps and steps[here] < most:
                    steps[parent] = steps[here] + 1
                    queue.append(parent)
        return steps


def anchors(net: WordNet) -> dict[str, list[str]]:
    """Synset -> the drawable things that it stands for, from `kinds.txt`; raises SumiError for an unknown sense."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in (resources.files("sumi.data") / "kinds.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        thing, _, senses = (part.strip() for part in line.partition("|"))
        for sense in (senses or thing).split(","):
            found[_sense(net, sense.strip().lower().replace(" ", "_"))].append(thing)
    return dict(found)


def _sense(net: WordNet, named: str) -> str:
    """The synset of 'lemma' or 'lemma#number'."""
    lemma, _, number = named.partition("#")
    known = net.senses.get(lemma, [])
    if int(number or 1) > len(known):
        raise SumiError(f"WordNet has no sense {named!r}")
    return known[int(number or 1) - 1]


def table(net: WordNet) -> Iterator[str]:
    """The lines of the table: `things`, then `irregular` forms, `emoji`, and `words` with what each is near to."""
    by_synset = anchors(net)
    things = sorted({thing for names in by_synset.values() for thing in names})
    number = {thing: index for index, thing in enumerate(things)}
    below = _below(net, by_synset)
    yield "\t".join(things)
    yield "\t".join(f"{word} {lemma}" for word, lemma in sorted(net.exceptions.items()) if word.isascii())
    yield "\t".join(f"{sign} {name}" for sign, name in sorted(emoji_names().items()))
    for lemma in sorted(net.words):
        if not re.fullmatch(r"[a-z][a-z'_.-]*[a-z]|[a-z]", lemma):
            continue
        if "_" in lemma and lemma not in net.senses:  # 'seal in' is no thing
            continue
        kinds, near = _kinds(net, lemma, by_synset), _near(net, lemma, below)
        if "_" in lemma and not kinds and not near:
            yield lemma.replace("_", " ")
            continue
        row = [lemma.replace("_", " ")]
        if kinds or near:
            row.append(" ".join(str(number[thing]) for thing in kinds))
            row += [" ".join(str(number[thing]) for thing in near)] if near else []
        yield "\t".join(row)


def one_step_relatives(net: WordNet, concepts: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the words one step from exactly one concept, each with the concept, in an order that a hash gives.

    A concept has the synset of its own names, whatever it may stand in for. Its relatives are the other words of that
    synset and of the synsets directly above and below. Names in capitals and the most general words are left out, and
    words that usually mean something else.

    Args:
        net: WordNet.
        concepts: each concept with its names.
    """
    children = defaultdict(list)
    for synset, parents in net.parents.items():
        for parent in parents:
            children[parent].append(synset)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for concept, synset in _own_synsets(net, concepts):
        for near in (synset, *children[synset], *net.parents[synset]):
            for word in net.names[near]:
                if word == word.lower() and word not in TOO_GENERAL and net.senses.get(word, [""])[0] == near:
                    found[word.replace("_", " ")].add(concept)
    alone = [(word, next(iter(near))) for word, near in found.items() if len(near) == 1]
    return sorted(alone, key=lambda row: hash_share(f"relative|{row[0]}"))


def _own_synsets(net: WordNet, concepts: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield each concept with a synset that one of its names has: by `kinds.txt`, or its first that can be pictured."""
    by_synset = anchors(net)
    for concept, names in concepts.items():
        for name in names:
            senses = net.senses.get(name.lower().replace(" ", "_"), [])
            listed = [sense for sense in senses if set(names) & set(by_synset.get(sense, ()))]
            pictured = [sense for sense in senses if net.file[sense] in PICTURED]
            yield from ((concept, sense) for sense in (listed or pictured)[:1])


def build(folder: Path, path: Path) -> Path:
    """Write the table of the WordNet in a folder, compressed and the same to the byte each time."""
    text = "\n".join(table(WordNet.read(folder))) + "\n"
    return write_atomic(path, gzip.compress(text.encode("utf-8"), 9, mtime=0))


def emoji_names() -> Mapping[str, str]:
    """Emoji -> what it is called: the first name that the lists give its icon, else its CLDR name."""
    try:
        import emoji
    except ImportError:
        raise SumiError("the table of words needs the emoji package: pip install '.[train]'") from None
    named = named_entries()
    names = {}
    for sign, data in emoji.EMOJI_DATA.items():
        name = str(data["en"]).strip(":").replace("_", " ")
        if "status" in data and data["status"] != emoji.STATUS["fully_qualified"]:
            continue
        names[sign] = _said(name, named)
        names.setdefault(sign.replace("\ufe0f", ""), names[sign])
    return {sign: name for sign, name in names.items() if name.isascii() and "flag" not in name}


def _said(name: str, named: Mapping[str, Entry]) -> str:
    """A CLDR name in the words of captions: 'man cook: medium skin tone' -> 'man chef with medium skin'."""
    base, _, rest = re.sub(r":? (light|medium-light|medium|medium-dark|dark) skin tone", r": \1", name).partition(":")
    gender, _, role = base.partition(" ")
    if gender not in ("man", "woman"):
        gender, role = "", base
    entry = named.get(slug(role))
    said = entry.names[0] if entry is not None else role.replace("-", " ")
    tone = rest.replace(":", " ").strip().replace("-", " ")
    return f"{gender} {said}".strip() + (f" with {tone} skin" if tone and "," not in tone else "")


def _rows(path: Path) -> Iterator[list[str]]:
    """The fields of each line of a file of WordNet, less its licence and its glosses."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("  "):
                yield line.partition(" | ")[0].split()


def _kinds(net: WordNet, lemma: str, by_synset: Mapping[str, list[str]]) -> list[str]:
    """The things that a noun is a kind of, nearest first."""
    synset = net.meant(lemma)
    if synset is None:
        return []
    above = sorted(net.above(synset, DEEPEST_KIND).items(), key=lambda row: row[1])
    things = dict.fromkeys(thing for ancestor, _ in above for thing in by_synset.get(ancestor, ()))
    return [thing for thing in things if thing not in ANYBODY or synset not in net.instances]


def _below(net: WordNet, by_synset: Mapping[str, list[str]]) -> dict[str, list[tuple[int, str]]]:
    """Synset -> the things below it, each with its steps, nearest first."""
    below: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for synset, names in by_synset.items():
        for ancestor, steps in net.above(synset, FURTHEST_NEAR).items():
            below[ancestor] += [(steps, name) for name in names]
    general = {_sense(net, name) for name in TOO_GENERAL}
    return {synset: sorted(found) for synset, found in below.items() if synset not in general}


def _near(net: WordNet, lemma: str, below: Mapping[str, list[tuple[int, str]]]) -> list[str]:
    """The things nearest to a noun by way of a common ancestor."""
    synset = net.meant(lemma)
    if synset is None or net.file[synset] not in PICTURED:
        return []
    best: dict[str, int] = {}
    for ancestor, up in net.above(synset, FURTHEST_NEAR).items():
        for down, thing in below.get(ancestor, ())[:20]:
            if up + down <= FURTHEST_NEAR:
                best[thing] = min(best.get(thing, 99), up + down)
    return sorted(best, key=lambda thing: (best[thing], thing))[:MOST_NEAR]
