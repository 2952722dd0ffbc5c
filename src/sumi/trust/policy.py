"""The content policy: one YAML file of lists and rules, and what it decides about a text or a picture.

    text    -> its spellings -> rules -> reasons -> allow, review or block
    picture -> checkers      -> reasons          -> allow, review or block

It knows words, not meanings. A request in other words, or in an unlisted language, passes; a harmless sentence around a
listed word does not. So it guards little: a model draws only what it was taught, and safety begins there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from sumi.errors import SumiError
from sumi.trust.spelling import find_near_words, index_deletions, spell

__all__ = [
    "ACTIONS",
    "PLACES",
    "VARIABLE",
    "Decision",
    "PictureConcept",
    "Policy",
    "Reason",
    "Rule",
    "load_policy",
    "read_policy",
]

VARIABLE: Final = "SUMI_POLICY"
SHIPPED: Final = Path(__file__).with_name("policy.yaml")
ACTIONS: Final = ("allow", "review", "block")
"""From the mildest to the strictest."""
PLACES: Final = ("everywhere", "server")
LARGEST_FILE_BYTES: Final = 2**20
MOST_BETWEEN: Final = 3
"""Words that may stand between two words of a sequence."""


@dataclass(frozen=True)
class Reason:
    """Why the policy decided so.

    Attributes:
        code: the id of the rule or concept, or `checker-failed`.
        category: its category.
        action: review or block.
        score: 1 for words; for a concept, how far above its threshold, in [0, 1].
    """

    code: str
    category: str
    action: str
    score: float = 1.0


@dataclass(frozen=True)
class Decision:
    """What the policy decided about a text or a picture, with every reason."""

    reasons: tuple[Reason, ...] = ()

    @property
    def action(self) -> str:
        """The strictest action of the reasons; allow without any."""
        return max((one.action for one in self.reasons), key=ACTIONS.index, default="allow")

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the reasons, each once."""
        return tuple(dict.fromkeys(one.category for one in self.reasons))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the reasons as JSON values."""
        return [asdict(one) for one in self.reasons]

    def __add__(self, other: Decision) -> Decision:
        return Decision((*self.reasons, *other.reasons))


@dataclass(frozen=True)
class Rule:
    """One rule for texts; see the head of `policy.yaml`."""

    id: str
    category: str
    action: str = "block"
    where: str = "server"
    hard: bool = False
    all: tuple[str, ...] = ()
    sequence: tuple[str, ...] = ()
    pattern: str = ""


@dataclass(frozen=True)
class PictureConcept:
    """One rule for pictures: what CLIP should find.

    Attributes:
        id, category, action: as of a rule.
        texts: descriptions of the concept.
        unlike: descriptions of what it is compared with.
        threshold: how much nearer than to the others a picture must be to one of the texts, as a cosine.
        sides: input, output or both.
    """

    id: str
    category: str
    texts: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    threshold: float = 0.1
    action: str = "review"
    sides: tuple[str, ...] = ("input", "output")


@dataclass(frozen=True)
class Policy:
    """A policy; the names of its fields are those of the file."""

    lists: Mapping[str, frozenset[str]]
    rules: tuple[Rule, ...]
    fuzzy: frozenset[str] = frozenset()
    real_words: frozenset[str] = frozenset()
    harmless: tuple[str, ...] = ()
    concepts: tuple[PictureConcept, ...] = ()
    picture_checkers: tuple[str, ...] = ()
    floor: Policy | None = None
    """The hard rules of the shipped policy, which no list of harmless texts or real words of another one reaches."""

    def check_text(self, text: str, where: Collection[str] = PLACES) -> Decision:
        """Return what the rules say about a text. where: whose rules, those for everywhere and those for servers."""
        forms = [self._without_harmless(form) for form in spell(text, self._fuzzy_words)]
        near = [word for form in forms for word in find_near_words(form, self._deletions, self._known)]
        if near:
            forms.append(f" {' '.join(near)} ")
        together = " | ".join(forms)
        found = [
            Reason(rule.id, rule.category, rule.action)
            for rule in self.rules
            if rule.where in where and rule.action != "allow" and self._applies(rule, forms, together)
        ]
        floor = () if self.floor is None else self.floor.check_text(text, where).reasons
        return Decision(tuple(dict.fromkeys((*floor, *found))))

    def _applies(self, rule: Rule, forms: Sequence[str], together: str) -> bool:
        if rule.pattern:
            return any(re.search(rule.pattern, form) for form in forms)
        if rule.sequence:
            return any(re.search(self._sequences[rule.id], form) for form in forms)
        return all(self._patterns[name].search(together) for name in rule.all)

    def _without_harmless(self, form: str) -> str:
        return self._harmless.sub(" ", form) if self._harmless else form

    @cached_property
    def _harmless(self) -> re.Pattern[str] | None:
        return re.compile("|".join(f"(?:{one})" for one in self.harmless)) if self.harmless else None

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {name: re.compile(_any_of(words)) for name, words in self.lists.items()}

    @cached_property
    def _sequences(self) -> dict[str, re.Pattern[str]]:
        between = rf"(?:\S+ ){{0,{MOST_BETWEEN}}}?"
        return {
            rule.id: re.compile(between.join(f"(?<= ){_bare_any_of(self.lists[name])} " for name in rule.sequence))
            for rule in self.rules
            if rule.sequence
        }

    @cached_property
    def _fuzzy_words(self) -> frozenset[str]:
        return frozenset(word for name in self.fuzzy for word in self.lists[name] if " " not in word and word.isascii())

    @cached_property
    def _deletions(self) -> dict[str, list[str]]:
        return index_deletions(self._fuzzy_words)

    @cached_property
    def _known(self) -> frozenset[str]:
        return self.real_words.union(*self.lists.values())


def _bare_any_of(words: Collection[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})"


def _any_of(words: Collection[str]) -> str:
    """Return a pattern of any of some words; those of scripts without spaces also inside a word."""
    inside = [word for word in words if re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", word)]
    return f" {_bare_any_of(words)} " + (f"|{_bare_any_of(inside)}" if inside else "")


# Reading. ------------------------------------------------------------------------------------------------------------


def load_policy() -> Policy:
    """Return the shipped policy with the additions of $SUMI_POLICY; SumiError where these are wrong."""
    return _load(os.environ.get(VARIABLE) or None)


@lru_cache(maxsize=4)
def _load(own: str | None) -> Policy:
    shipped = read_policy(SHIPPED)
    return shipped if own is None else read_policy(Path(own).expanduser(), shipped)


def read_policy(path: Path, base: Policy | None = None) -> Policy:
    """Return the policy of a file, added to another.

    Raises:
        SumiError: the file is missing or wrong; the line names the entry.
    """
    import yaml

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise SumiError(f"the policy {path} is over {LARGEST_FILE_BYTES // 2**20} MB")
        values = yaml.safe_load(data)
    except OSError as error:
        raise SumiError(f"cannot read the policy {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        at = f" at line {where.line + 1}" if where is not None else ""
        raise SumiError(f"the policy {path} is no YAML{at}") from None
    try:
        return _policy(values, base)
    except (_BadEntryError, re.error, RecursionError) as error:
        raise SumiError(f"the policy {path}: {str(error) or 'it is nested too deeply'}") from None


class _BadEntryError(Exception):
    """An entry of a policy is wrong."""


def _policy(values: Any, base: Policy | None) -> Policy:
    names = ("version", "lists", "fuzzy", "real_words", "harmless", "rules", "concepts", "picture_checkers")
    given = _mapping(values, "the file", names)
    if given.get("version", 1) != 1:
        raise _BadEntryError(f"version should be 1, not {str(given['version'])[:20]}")
    lists = {
        str(name): _texts(words, f"lists: {name}") for name, words in _mapping(given.get("lists"), "lists").items()
    }
    rules = [_rule(one) for one in _sequence(given.get("rules"), "rules")]
    concepts = [_concept(one) for one in _sequence(given.get("concepts"), "concepts")]
    made = Policy(
        {name: frozenset(word.casefold() for word in words) for name, words in lists.items()},
        tuple(rules),
        frozenset(_texts(given.get("fuzzy"), "fuzzy")),
        frozenset(_texts(given.get("real_words"), "real_words")),
        _texts(given.get("harmless"), "harmless"),
        tuple(concepts),
        _texts(given.get("picture_checkers"), "picture_checkers"),
    )
    return _check(made if base is None else _merge(base, made))


def _merge(base: Policy, own: Policy) -> Policy:
    """Return a policy with additions; hard rules and their lists only grow."""
    replaced = {rule.id for rule in own.rules}
    if hard := sorted(rule.id for rule in base.rules if rule.hard and rule.id in replaced):
        raise _BadEntryError(f"rules: {hard[0]} is hard, and no setting permits what it refuses")
    lists = {name: base.lists.get(name, frozenset()) | words for name, words in own.lists.items()}
    return Policy(
        {**base.lists, **lists},
        (*(rule for rule in base.rules if rule.id not in replaced), *own.rules),
        base.fuzzy | own.fuzzy,
        base.real_words | own.real_words,
        (*base.harmless, *own.harmless),
        (*base.concepts, *own.concepts),
        tuple(dict.fromkeys((*base.picture_checkers, *own.picture_checkers))),
        replace(base, rules=tuple(rule for rule in base.rules if rule.hard)),
    )


def _check(policy: Policy) -> Policy:
    for rule in policy.rules:
        for name in (*rule.all, *rule.sequence):
            if name not in policy.lists:
                raise _BadEntryError(f"rules: {rule.id} names the list {name}, which does not exist")
    if unknown := sorted(policy.fuzzy - policy.lists.keys()):
        raise _BadEntryError(f"fuzzy: there is no list {unknown[0]}")
    for text in (*policy.harmless, *(rule.pattern for rule in policy.rules)):
        re.compile(text)
    return policy


def _rule(values: Any) -> Rule:
    given = _mapping(values, "rules", tuple(Rule.__dataclass_fields__))
    named = f"rules: {str(given.get('id', '?'))[:40]}"
    lists: dict[str, Any] = {name: _texts(given.get(name), f"{named}: {name}") for name in ("all", "sequence")}
    texts: dict[str, Any] = {
        name: str(value) for name, value in given.items() if name not in ("all", "sequence", "hard")
    }
    if not {"id", "category"} <= given.keys():
        raise _BadEntryError(f"{named}: a rule needs an id and a category")
    rule = Rule(**texts, **lists, hard=given.get("hard", False) is True)
    if sum(map(bool, (rule.all, rule.sequence, rule.pattern))) != 1:
        raise _BadEntryError(f"{named}: a rule has one of all, sequence and pattern")
    _one_of(rule.action, ACTIONS, f"{named}: action")
    _one_of(rule.where, PLACES, f"{named}: where")
    return replace(rule, action="block", where="everywhere") if rule.hard else rule


def _concept(values: Any) -> PictureConcept:
    given = _mapping(values, "concepts", tuple(PictureConcept.__dataclass_fields__))
    named = f"concepts: {str(given.get('id', '?'))[:40]}"
    lists: dict[str, Any] = {
        name: _texts(given[name], f"{named}: {name}") for name in ("texts", "unlike", "sides") if name in given
    }
    if not {"id", "category", "texts"} <= given.keys() or not lists["texts"]:
        raise _BadEntryError(f"{named}: a concept needs an id, a category and texts")
    threshold = given.get("threshold", 0.1)
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not -1 <= threshold <= 1:
        raise _BadEntryError(f"{named}: threshold should be a number from -1 to 1")
    concept = PictureConcept(
        str(given["id"]), str(given["category"]), threshold=float(threshold),
        action=str(given.get("action", "review")), **lists,
    )  # fmt: skip
    _one_of(concept.action, ACTIONS, f"{named}: action")
    for side in concept.sides:
        _one_of(side, ("input", "output"), f"{named}: sides")
    return concept


def _one_of(value: str, choices: Sequence[str], named: str) -> None:
    if value not in choices:
        raise _BadEntryError(f"{named} should be one of {', '.join(choices)}, not {value[:40]!r}")


def _mapping(values: Any, named: str, names: Sequence[str] = ()) -> Mapping[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise _BadEntryError(f"{named} should be names with values")
    if names and (strange := sorted(values.keys() - set(names))):
        raise _BadEntryError(f"{named}: unknown entry {strange[0][:40]!r}; there are {', '.join(names)}")
    return values


def _sequence(values: Any, named: str) -> Sequence[Any]:
    if values is None:
        return ()
    if not isinstance(values, list):
        raise _BadEntryError(f"{named} should be a list")
    return values


def _texts(values: Any, named: str) -> tuple[str, ...]:
    if isinstance(values, str):
        values = [part.strip() for part in values.split(",") if part.strip()]
    texts = _sequence(values, named)
    if not all(isinstance(one, str) and one for one in texts):
        raise _BadEntryError(f"{named} should be a list of texts")
    return tuple(texts)
