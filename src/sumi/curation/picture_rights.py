"""Whose the pictures of a data set are, and which of them may be trained on.

    licensed      a licence is named, and nothing forbids training
    unlicensed    no licence is named: trained on only where that is allowed in so many words
    forbidden     a mark forbids training: noai, robots, IPTC data mining, content credentials, refused consent
    opted out     its file, its look or its author is on a list of opt-outs

What a data set says comes before what a file says about itself; a ban counts wherever it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sumi.curation.embedded_rights import NO_AI
from sumi.curation.fingerprint import Fingerprint, hash_bits, mirrored_hash
from sumi.curation.scan import PictureScan
from sumi.data.captions import read_text
from sumi.data.picture_dataset import PictureRecord
from sumi.errors import SumiError

__all__ = [
    "NEAR_BITS",
    "STATUSES",
    "OptOuts",
    "PictureRights",
    "count_rights",
    "find_rights",
    "may_train",
    "read_opt_outs",
]

STATUSES = ("licensed", "unlicensed", "forbidden", "opted out")
NEAR_BITS = 56
"""Bits, of 256, in which the hashes of a picture and of a near-duplicate differ at most."""
ROBOTS = ("robots", "x_robots_tag", "meta_robots", "noai", "ai_training", "tdm_reservation")
"""Fields, with any sign for the space, that carry what a page or a header says to robots."""
REFUSED = frozenset({"no", "none", "false", "0", "refused", "revoked", "denied", "withdrawn"})
AFFIRMED = frozenset({"1", "true", "yes"})
MOST_URLS = 50
"""With more addresses than this, each picture has its own, and rights are counted without them."""
KINDS = ("sha256", "phash", "author")


@dataclass(frozen=True)
class OptOuts:
    """Who does not want to be trained on.

    Attributes:
        sha256: of files.
        phashes: perceptual hashes; pictures within NEAR_BITS of one, also mirrored, are meant.
        authors: names, in lower case.
    """

    sha256: frozenset[str] = frozenset()
    phashes: tuple[str, ...] = ()
    authors: frozenset[str] = frozenset()

    def reason(self, fingerprint: Fingerprint, author: str) -> str:
        """Return why a picture is opted out, "" where it is not."""
        if fingerprint.sha256 in self.sha256:
            return "its file is on the list"
        if author and author.casefold() in self.authors:
            return f"its author {author} is on the list"
        if self.phashes and fingerprint.phash:
            listed = hash_bits([*self.phashes, *map(mirrored_hash, self.phashes)])
            if float((listed @ hash_bits([fingerprint.phash])[0]).max()) >= 1 - 2 * NEAR_BITS / 256:
                return "it looks like a picture on the list"
        return ""


@dataclass(frozen=True)
class PictureRights:
    """What is known about the rights of one picture, "" where nothing is.

    Attributes:
        name: of its record.
        source, url, licence, author, consent, evidence: see `RIGHTS_FIELDS`.
        status: "licensed", "unlicensed", "forbidden" or "opted out".
        reason: why it is forbidden or opted out.
    """

    name: str
    source: str = ""
    url: str = ""
    licence: str = ""
    author: str = ""
    consent: str = ""
    evidence: str = ""
    status: str = "unlicensed"
    reason: str = ""

    @property
    def refusal(self) -> str:
        """Why it may not be trained on, in a line."""
        if self.status == "unlicensed":
            return f"{self.name} names no licence (--licence, --allow-unlicensed)"
        return f"{self.name} is {self.status}: {self.reason}"

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values, without what is not known."""
        return {name: value for name, value in vars(self).items() if value}


def find_rights(
    record: PictureRecord, scan: PictureScan, opt_outs: OptOuts, declared: Mapping[str, str] | None = None
) -> PictureRights:
    """Return the rights of a picture.

    Args:
        record: what its data set says.
        scan: what its file says.
        opt_outs: who does not want to be trained on.
        declared: licence and author of pictures that name none, such as one's own.
    """
    embedded = scan.embedded
    in_file = {"licence": embedded.licence, "author": embedded.author, "evidence": embedded.evidence}
    names_none = not (record.rights.get("licence") or embedded.licence)
    own = dict(declared or {}) if names_none else {}
    known = {name: value for rights in (own, in_file, record.rights) for name, value in rights.items() if value}
    author = known.get("author", "")
    status, reason = "licensed" if known.get("licence") else "unlicensed", ""
    if ban := find_ban(record) or embedded.ban:
        status, reason = "forbidden", ban
    if opted := opt_outs.reason(scan.fingerprint, author):
        status, reason = "opted out", opted
    return PictureRights(record.name, **known, status=status, reason=reason)


def find_ban(record: PictureRecord) -> str:
    """Return what the data set says against training on a picture, "" where nothing."""
    consent = record.rights.get("consent", "")
    if consent.casefold() in REFUSED:
        return f"consent: {consent}"
    for name, value in record.fields.items():
        field_name = re.sub(r"[^a-z]+", "_", name.casefold())
        text = str(value).casefold().strip()
        if field_name in ROBOTS:
            words = set(re.findall(r"[a-z-]+", text))
            banned = words & set(NO_AI)
            switched = text in AFFIRMED and field_name in ("noai", "tdm_reservation")
            refused = text in REFUSED and field_name == "ai_training"
            if banned or switched or refused:
                return f"{name}: {value}"
    return ""


def may_train(rights: PictureRights, allow_unlicensed: bool) -> bool:
    """Return whether a picture may be trained on."""
    return rights.status == "licensed" or (allow_unlicensed and rights.status == "unlicensed")


def count_rights(rights: Sequence[Mapping[str, str]]) -> list[dict[str, str | int]]:
    """Return a row for each source, licence, author and address of one's own pictures, with the number of pictures.

    What nobody wrote down is empty; the row says so.
    """
    names = (
        ("source", "licence", "author", "url")
        if len({row.get("url") for row in rights}) <= MOST_URLS
        else ("source", "licence", "author")
    )
    counts = Counter(tuple(row.get(name, "") for name in names) for row in rights)
    return [
        {"source": "", "version": "", "licence": "", "author": "", "url": ""}
        | dict(zip(names, key, strict=True))
        | {"pictures": count}
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def read_opt_outs(paths: Sequence[str | Path]) -> OptOuts:
    """Return the opt-outs of text files, one a line: "sha256: HEX", "phash: HEX" or "author: NAME"; # begins a comment.

    Raises:
        SumiError: naming the first line that is none.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for path in map(Path, paths):
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            kind, _, value = (part.strip() for part in line.partition(":"))
            if kind not in found or not value or (kind != "author" and not re.fullmatch(r"[0-9a-fA-F]{64}", value)):
                raise SumiError(
                    f'{path}, line {number}: it should be "sha256: " or "phash: " and 64 hexadecimal digits, or '
                    f'"author: " and a name; it is {line.strip()[:60]!r}'
                )
            found[kind].append(value.casefold())
    return OptOuts(frozenset(found["sha256"]), tuple(found["phash"]), frozenset(found["author"]))
