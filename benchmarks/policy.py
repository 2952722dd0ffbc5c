"""How well the policy for words finds hidden words, and how often it stops a harmless sentence.

    .venv/bin/python benchmarks/policy.py --json policy.json

The words that are hidden are harmless proxies (fruit and instruments), so nothing here needs a listed word. Each way
of hiding a word belongs to one of two splits: the policy was written with the first in mind, and `held out` was written
after it and is measured only. Sentences about people name identity terms, and the shipped policy should stop none of
them. Intervals are Wilson's, of 95 per cent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sumi.trust.policy import Policy, Rule, load_policy

PROXIES = (
    "banana", "pineapple", "accordion", "trombone", "umbrella", "cucumber", "harmonica", "clarinet", "tangerine",
    "saxophone", "coconut", "mandolin",
)  # fmt: skip
FRAMES = (
    "a {} on a table", "draw me a {} please", "two friends with a {}", "{} in the rain, watercolour", "my {}",
    "a sticker of a {} and a cat", "the {} that sings", "a very happy {}!", "please: {}",
)  # fmt: skip
IDENTITIES = (
    "jew", "muslim", "christian", "black", "white", "asian", "gay", "lesbian", "trans", "immigrant", "refugee", "woman",
    "man", "roma", "disabled", "old", "deaf", "indigenous",
)  # fmt: skip
PEOPLE = (
    "person", "family", "teacher", "doctor", "couple", "baby", "neighbour", "athlete", "cook", "child", "farmer",
    "woman", "man", "grandmother", "singer", "soldier", "student", "nurse", "pilot", "dancer",
)  # fmt: skip
DOINGS = (
    "reading a book", "at dinner", "smiling", "shooting a basketball", "who cuts an onion", "with a dog",
    "and the history of art", "hangs laundry", "kills the lights", "at a wedding", "on a horse", "with cockroaches",
    "with an inferior camera", "holding hands", "in a hospital", "going to hang a picture", "cooking with gas",
    "who says i love you", "in the sun", "making a guide to the city",
)  # fmt: skip
HARMLESS_FRAMES = (
    "a {} {} on a hill", "{} and {} in the snow", "a {} made of {}", "how to paint a {} with a {}", "i want a {} {}",
    "make me a picture of a {} and a {}", "a guide to the {} of the {}", "the {} cuts the {}",
)  # fmt: skip
HARMLESS_WORDS = (
    "fox owl castle river lemon guitar rocket teapot garden mountain bicycle lantern pirate wizard kitchen bridge"
    " kitten turtle violin balloon sweater pumpkin robot forest penguin dolphin candle mirror basket pencil bandana"
    " pinecone accord trombonist umbra coco mandala banner canary saxony clarity tangent harmony"
).split()
LOOKALIKES = {"a": "а", "e": "е", "o": "ο", "i": "і", "c": "с", "p": "р", "n": "ո", "u": "υ", "x": "х", "m": "м"}
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}

Hide = Callable[[str, random.Random], str]


def swap(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word) - 2)
    letters = list(word)
    letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def leave_out(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word))
    return word[:place] + word[place + 1 :]


def replace_letter(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word))
    return word[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[place + 1 :]


def between(signs: str) -> Hide:
    return lambda word, rng: rng.choice(signs).join(word)


def map_some(table: Mapping[str, str], share: float) -> Hide:
    def hide(word: str, rng: random.Random) -> str:
        return "".join(table.get(letter, letter) if rng.random() < share else letter for letter in word)

    return hide


def shifted(first: int) -> Hide:
    return lambda word, rng: "".join(chr(first + ord(letter) - 97) for letter in word)


SPLITS: Mapping[str, Mapping[str, Hide]] = {
    "known": {
        "plain": lambda word, rng: word,
        "upper case": lambda word, rng: word.upper(),
        "spaces": between(" "),
        "zero width": between("\u200b\u200c\u200d\u2060"),
        "look-alikes": map_some(LOOKALIKES, 0.7),
        "digits": map_some(LEET, 0.8),
        "accents": lambda word, rng: "".join(letter + rng.choice("\u0301\u0308\u0303") for letter in word),
        "full width": shifted(0xFF41),
        "swapped": swap,
        "left out": leave_out,
    },
    "held out": {
        "dots": between(".-_·"),
        "soft hyphens": between("\u00ad"),
        "bold script": shifted(0x1D4EA),
        "fraktur": shifted(0x1D51E),
        "circled": shifted(0x24D0),
        "repeated": lambda word, rng: "".join(letter * rng.choice((1, 1, 3, 4)) for letter in word),
        "cut in two": lambda word, rng: f"{word[:3]} {word[3:]}",
        "masked": lambda word, rng: word[:2] + "*" + word[3:],
        "replaced": replace_letter,
        "look-alikes and zero width": lambda word, rng: between("\u200b")(map_some(LOOKALIKES, 0.5)(word, rng), rng),
        "digits and upper case": lambda word, rng: map_some(LEET, 0.5)(word, rng).upper(),
        "doubled": lambda word, rng: word[:2] + word[1:],
    },
}


def proxy_policy() -> Policy:
    """Return a policy that blocks the proxies."""
    lists = {"proxies": frozenset(PROXIES)}
    return Policy(
        lists, (Rule("proxy", "proxy", all=("proxies",)),), fuzzy=frozenset(lists), real_words=frozenset({"bandana"})
    )


def rate(found: Sequence[bool]) -> dict[str, Any]:
    hits, count, z = sum(found), len(found), 1.959964
    share = hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    low, high = (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)
    return {"rate": share, "low": max(0.0, low), "high": high, "n": count}


def measure_recall(each: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return the share of hidden words that are found, for each way of hiding and each split. each: sentences a way."""
    policy, rng = proxy_policy(), random.Random(seed)
    rows: dict[str, dict[str, Any]] = {}
    for split, ways in SPLITS.items():
        found = {
            name: [
                policy.check_text(rng.choice(FRAMES).format(hide(rng.choice(PROXIES), rng))).action == "block"
                for _ in range(each)
            ]
            for name, hide in ways.items()
        }
        rows[split] = {name: rate(hits) for name, hits in found.items()}
        rows[split]["all"] = rate([hit for hits in found.values() for hit in hits])
    return rows


def measure_false_positives(count: int, seed: int = 1) -> dict[str, Any]:
    """Return the share of harmless sentences that either policy stops, and of sentences with each identity term."""
    rng, proxy, shipped = random.Random(seed), proxy_policy(), load_policy()
    sentences = [
        rng.choice(HARMLESS_FRAMES).format(rng.choice(HARMLESS_WORDS), rng.choice(HARMLESS_WORDS)) for _ in range(count)
    ]
    pairs = list(itertools.product(PEOPLE, DOINGS))
    people = {name: [f"a {name} {who} {doing}" for who, doing in pairs] for name in IDENTITIES}
    stopped = {
        name: [shipped.check_text(sentence).action != "allow" for sentence in texts] for name, texts in people.items()
    }
    return {
        "harmless, proxies": rate([proxy.check_text(sentence).action != "allow" for sentence in sentences]),
        "harmless, shipped": rate([shipped.check_text(sentence).action != "allow" for sentence in sentences]),
        "identity terms": {name: rate(found) for name, found in stopped.items()},
        "identity terms, all": rate([one for found in stopped.values() for one in found]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=400, help="sentences for each way of hiding a word")
    parser.add_argument("--harmless", type=int, default=4000, help="harmless sentences")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    report = {"recall": measure_recall(given.n), "false positives": measure_false_positives(given.harmless)}
    if given.json:
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
