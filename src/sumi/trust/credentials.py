"""Content credentials: a signed C2PA manifest inside the file of a picture, and reading one from any file.

    file with its metadata -> manifest (who made it, from what) -> hash of every other byte -> signature

`sign_file` comes last: any byte that changes after it, such as a metadata field, breaks the signature. A manifest says
who signed these bytes. Whoever removes it leaves an ordinary file, and anybody may sign anything.

C2PA technical specification 2.2; reading and writing is `c2pa-python`.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sumi.errors import SumiError
from sumi.trust.certificate import SigningCertificate

if TYPE_CHECKING:
    import c2pa

__all__ = [
    "COMPOSITE",
    "GENERATED",
    "Credentials",
    "Ingredient",
    "Manifest",
    "find_media_type",
    "hash_recipe",
    "read_manifest",
    "sign_file",
]

_SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED: Final = f"{_SOURCE_TYPES}trainedAlgorithmicMedia"
COMPOSITE: Final = f"{_SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
"""IPTC's names for a picture that a model drew, and for one of which a model drew a part."""

ASSERTION: Final = "sumi.picture"
"""The label of our own assertion: the model, the recipe's hash and the rights of the training pictures."""

_MAGIC: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


@dataclass(frozen=True)
class Ingredient:
    """A picture that another was made from: its file, with the manifest that it may carry."""

    data: bytes = field(repr=False)
    media_type: str
    title: str = "picture"


@dataclass(frozen=True)
class Credentials:
    """What a signature says about a picture.

    Attributes:
        title: a name for people.
        version: of Sumi.
        model: the model's name.
        model_sha256: of all its weights.
        recipe_sha256: see `hash_recipe`.
        operation: generate, edit, vary and so on.
        rights: one line about the rights of the training pictures.
        source_type: `GENERATED` or `COMPOSITE`.
        ingredients: the pictures that it was made from. One is its parent; of several each is a component.
    """

    title: str
    version: str
    model: str
    model_sha256: str
    recipe_sha256: str
    operation: str = "generate"
    rights: str = ""
    source_type: str = GENERATED
    ingredients: Sequence[Ingredient] = ()


@dataclass(frozen=True)
class Manifest:
    """What the manifest of a file says.

    Attributes:
        state: trusted (signed under an authority that is trusted here), valid (signed by somebody else, unchanged
            since), invalid (changed after it was signed, or damaged) or absent.
        signer: the name in the signing certificate.
        generator: the program that signed.
        signed_at: when, as RFC 3339; by the signer's clock unless a time stamp is present.
        source_type: IPTC's digital source type, such as trainedAlgorithmicMedia.
        picture: our own assertion, where Sumi signed.
        ingredients: relationship, title and state of each picture that it was made from.
        faults: why it is invalid.
    """

    state: str
    signer: str | None = None
    generator: str | None = None
    signed_at: str | None = None
    source_type: str | None = None
    picture: Mapping[str, str] = field(default_factory=dict)
    ingredients: Sequence[Mapping[str, str]] = ()
    faults: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def hash_recipe(recipe: Mapping[str, Any]) -> str:
    """Return the sha256 of a recipe's JSON values in canonical form."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def find_media_type(data: bytes) -> str | None:
    """Return the media type of a file by its first bytes: PNG, JPEG, GIF or WebP; None for others."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def sign_file(
    data: bytes, media_type: str, credentials: Credentials, certificate: SigningCertificate, timestamp_url: str = ""
) -> bytes:
    """Return a picture's file with a signed manifest inside; nothing may be written to it afterwards.

    Args:
        data: the finished file, with its metadata.
        media_type: image/png, image/jpeg or image/webp.
        credentials: what to say about it.
        certificate: who says it.
        timestamp_url: a time-stamping authority (RFC 3161) to ask for the time of the signature.

    Raises:
        SumiError: it cannot be signed.
    """
    import c2pa

    manifest = {
        "claim_generator_info": [{"name": "Sumi", "version": credentials.version}],
        "title": _valid_text(credentials.title)[:200],
        "format": media_type,
        "assertions": [{"label": ASSERTION, "data": _picture(credentials)}],
    }
    algorithm = certificate.algorithm.encode()
    info = c2pa.C2paSignerInfo(algorithm, certificate.chain, certificate.key, timestamp_url.encode() or None)
    signed = io.BytesIO()
    try:
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, _context(certificate.anchors)) as builder:
            labels = [
                _add_ingredient(builder, number, one, len(credentials.ingredients))
                for number, one in enumerate(credentials.ingredients, 1)
            ]
            for action in _actions(credentials, labels):
                builder.add_action(action)
            builder.sign(signer, media_type, io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise SumiError(f"the picture cannot be signed: {str(error)[:200]}") from None
    return signed.getvalue()


def read_manifest(data: bytes, anchors: str = "") -> Manifest:
    """Return what the manifest inside a file says; `absent` where there is none. Nothing is fetched from the network.

    Args:
        data: the file, from anybody.
        anchors: certificates of the authorities to trust, as PEM.
    """
    import c2pa

    media_type = find_media_type(data)
    if media_type is None:
        return Manifest("absent")
    try:
        with c2pa.Reader(media_type, io.BytesIO(data), context=_context(anchors)) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return Manifest("absent")
    except (c2pa.C2paError, ValueError) as error:
        return Manifest("invalid", faults=(f"the manifest cannot be read: {str(error)[:120]}",))
    return _manifest(report)


# Writing. ------------------------------------------------------------------------------------------------------------


def _picture(credentials: Credentials) -> dict[str, str]:
    names = ("model", "model_sha256", "recipe_sha256", "operation", "rights")
    return {name: _valid_text(getattr(credentials, name)) for name in names}


def _add_ingredient(builder: c2pa.Builder, number: int, ingredient: Ingredient, count: int) -> str:
    """Add one picture that another was made from, and return its label."""
    label = f"ingredient-{number}"
    relationship = "parentOf" if count == 1 else "componentOf"
    values = {"title": _valid_text(ingredient.title)[:200], "relationship": relationship, "label": label}
    builder.add_ingredient(values, ingredient.media_type, io.BytesIO(ingredient.data))
    return label


def _valid_text(text: str) -> str:
    """Return a text without half surrogate pairs, as a file's name may have; JSON of the manifest holds none."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _actions(credentials: Credentials, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the history of a picture: created; or opened and edited; or created from several that were placed."""
    agent = {"name": "Sumi", "version": credentials.version}
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    drawn = {"digitalSourceType": credentials.source_type, "softwareAgent": agent, "when": when}
    drawn["parameters"] = {"sumi.operation": credentials.operation}
    if len(labels) == 1:
        opened = {"action": "c2pa.opened", "softwareAgent": agent, "parameters": {"ingredientIds": labels}}
        return [opened, {"action": "c2pa.edited", **drawn}]
    placed = [
        {"action": "c2pa.placed", "softwareAgent": agent, "parameters": {"ingredientIds": [label]}} for label in labels
    ]
    return [{"action": "c2pa.created", **drawn}, *placed]


def _context(anchors: str) -> c2pa.Context:
    """Return the settings of c2pa: trust these authorities, make no thumbnails, and stay off the network."""
    import c2pa

    settings: dict[str, Any] = {
        "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context(settings=c2pa.Settings.from_dict(settings))


# Reading. ------------------------------------------------------------------------------------------------------------


def _manifest(report: Mapping[str, Any]) -> Manifest:
    """Return c2pa's report on a file in our terms."""
    active = report.get("manifests", {}).get(report.get("active_manifest"), {})
    signature = active.get("signature_info", {})
    assertions = {one.get("label", ""): one.get("data", {}) for one in active.get("assertions", [])}
    actions: Any = next((data for label, data in assertions.items() if label.startswith("c2pa.actions")), {})
    drawn = [one for one in actions.get("actions", []) if one.get("digitalSourceType")]
    results = report.get("validation_results", {}).get("activeManifest", {})
    generators = active.get("claim_generator_info") or [{}]
    generator = " ".join(filter(None, [generators[0].get("name"), generators[0].get("version")]))
    return Manifest(
        state={"Trusted": "trusted", "Valid": "valid"}.get(report.get("validation_state", ""), "invalid"),
        signer=signature.get("common_name") or signature.get("issuer"),
        generator=generator or None,
        signed_at=signature.get("time") or next((one["when"] for one in drawn if "when" in one), None),
        source_type=drawn[0]["digitalSourceType"].removeprefix(_SOURCE_TYPES) if drawn else None,
        picture={str(name): str(value)[:500] for name, value in assertions.get(ASSERTION, {}).items()},
        ingredients=[_ingredient(one) for one in active.get("ingredients", [])],
        faults=[f"{one.get('code')}: {one.get('explanation', '')}" for one in results.get("failure", [])],
    )


def _ingredient(values: Mapping[str, Any]) -> dict[str, str]:
    """Return one ingredient of c2pa's report: whether its own manifest held when it was used."""
    failures = values.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    untrusted = [one for one in failures if one.get("code") != "signingCredential.untrusted"]
    state = "absent" if "active_manifest" not in values else "invalid" if untrusted else "valid"
    return {
        "relationship": str(values.get("relationship", "")),
        "title": str(values.get("title", ""))[:200],
        "manifest": state,
    }
