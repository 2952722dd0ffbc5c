"""A signed file says who drew it and from what; c2pa's own reader agrees, and any change afterwards shows."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import c2pa
import pytest
from PIL import Image

from sumi.errors import SumiError
from sumi.trust.certificate import SigningCertificate, find_folder, load_certificate
from sumi.trust.credentials import (
    COMPOSITE,
    Credentials,
    Ingredient,
    Manifest,
    find_media_type,
    hash_recipe,
    read_manifest,
    sign_file,
)

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> SigningCertificate:
    made = load_certificate(tmp_path_factory.mktemp("signing"))
    assert made is not None
    return made


def make_file(kind: str = "PNG", colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, kind)
    return file.getvalue()


def make_credentials(*ingredients: Ingredient, source_type: str = COMPOSITE) -> Credentials:
    return Credentials(
        "a red fox", "1.0", "tiny", "m" * 64, "r" * 64, "edit", "2 drawings: CC0-1.0", source_type, ingredients
    )


def relationships(manifest: Manifest) -> Sequence[tuple[str, str, str]]:
    return [(one["relationship"], one["title"], one["manifest"]) for one in manifest.ingredients]


@pytest.mark.parametrize("kind", KINDS)
def test_sign_file_is_valid_to_the_reader_of_c2pa(kind: str, certificate: SigningCertificate) -> None:
    signed = sign_file(make_file(kind), KINDS[kind], make_credentials(), certificate)
    with c2pa.Reader(KINDS[kind], io.BytesIO(signed)) as reader:
        report = json.loads(reader.json())
    assert report["validation_state"] == "Valid"
    active = report["manifests"][report["active_manifest"]]
    actions = next(one["data"]["actions"] for one in active["assertions"] if one["label"].startswith("c2pa.actions"))
    assert actions[0]["action"] == "c2pa.created"
    assert actions[0]["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert Image.open(io.BytesIO(signed)).getpixel((0, 0)) == Image.open(io.BytesIO(make_file(kind))).getpixel((0, 0))


def test_read_manifest_returns_what_was_signed(certificate: SigningCertificate) -> None:
    signed = sign_file(make_file(), "image/png", make_credentials(), certificate)
    manifest = read_manifest(signed, certificate.anchors)
    assert (manifest.state, manifest.signer, manifest.generator) == ("trusted", "Sumi on this machine", "Sumi 1.0")
    assert manifest.source_type == "compositeWithTrainedAlgorithmicMedia" and manifest.signed_at is not None
    assert manifest.picture["recipe_sha256"] == "r" * 64 and manifest.picture["rights"] == "2 drawings: CC0-1.0"
    assert read_manifest(signed).state == "valid", "the authority is not trusted unless it is named"


@pytest.mark.parametrize("kind", KINDS)
def test_read_manifest_of_a_changed_file_is_invalid(kind: str, certificate: SigningCertificate) -> None:
    signed = sign_file(make_file(kind), KINDS[kind], make_credentials(), certificate)
    changed = bytearray(signed)
    changed[-3 if kind == "WEBP" else -20] ^= 1
    for tampered in (bytes(changed), signed + b"text"):
        manifest = read_manifest(tampered, certificate.anchors)
        assert manifest.state == "invalid" and manifest.faults


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", make_file(), make_file("GIF")], ids=range(5))
def test_read_manifest_of_an_unsigned_file_never_raises(data: bytes) -> None:
    assert read_manifest(data).state in ("absent", "invalid")
    assert read_manifest(make_file()).state == "absent"


def test_sign_file_keeps_the_marks_of_its_inputs(certificate: SigningCertificate) -> None:
    signed = sign_file(make_file(), "image/png", make_credentials(), certificate)
    bare, broken = make_file(colour="blue"), signed + b"text"
    edited = sign_file(bare, "image/png", make_credentials(Ingredient(signed, "image/png", "fox.png")), certificate)
    assert relationships(read_manifest(edited)) == [("parentOf", "fox.png", "valid")]
    sources = [Ingredient(one, "image/png", name) for one, name in ((signed, "a"), (bare, "b"), (broken, "c"))]
    blended = read_manifest(sign_file(bare, "image/png", make_credentials(*sources), certificate), certificate.anchors)
    assert blended.state == "trusted"
    assert relationships(blended) == [
        ("componentOf", "a", "valid"),
        ("componentOf", "b", "absent"),
        ("componentOf", "c", "invalid"),
    ]


def test_sign_file_refuses_what_is_no_picture(certificate: SigningCertificate) -> None:
    with pytest.raises(SumiError, match="cannot be signed"):
        sign_file(b"text", "image/png", make_credentials(), certificate)


def test_find_media_type_reads_the_first_bytes() -> None:
    assert {kind: find_media_type(make_file(kind)) for kind in KINDS} == KINDS
    assert find_media_type(make_file("GIF")) == "image/gif" and find_media_type(make_file("BMP")) is None


def test_hash_recipe_ignores_the_order_of_fields() -> None:
    assert hash_recipe({"a": 1, "b": [2]}) == hash_recipe({"b": [2], "a": 1}) != hash_recipe({"a": 1, "b": [3]})


# Certificates. -------------------------------------------------------------------------------------------------------


def test_load_certificate_makes_one_and_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "signing"
    first, again = load_certificate(folder), load_certificate(folder)
    assert first == again and first is not None and first.algorithm == "ed25519"
    assert "key" not in repr(first)
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0, "nobody else may read the key"


def test_load_certificate_refuses_a_key_of_another_certificate(tmp_path: Path) -> None:
    load_certificate(tmp_path / "a")
    load_certificate(tmp_path / "b")
    (tmp_path / "a" / "key.pem").write_bytes((tmp_path / "b" / "key.pem").read_bytes())
    with pytest.raises(SumiError, match=r"key\.pem is not the key of"):
        load_certificate(tmp_path / "a")
    (tmp_path / "b" / "certificate.pem").write_text("no certificate")
    with pytest.raises(SumiError, match="is damaged"):
        load_certificate(tmp_path / "b")


def test_load_certificate_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SumiError, match="set SUMI_SIGNING to another folder, or to off"):
        load_certificate(tmp_path / "file" / "signing")


def test_load_certificate_trusts_further_authorities(tmp_path: Path, certificate: SigningCertificate) -> None:
    (tmp_path / "anchors.pem").write_text(certificate.anchors)
    other = load_certificate(tmp_path)
    assert other is not None
    signed = sign_file(make_file(), "image/png", make_credentials(), certificate)
    assert read_manifest(signed, other.anchors).state == "trusted"


def test_find_folder_is_none_where_signing_is_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUMI_SIGNING", "off")
    assert find_folder() is None and load_certificate() is None
    monkeypatch.delenv("SUMI_SIGNING")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    assert find_folder() == tmp_path / "sumi" / "signing"


def test_sign_file_takes_any_name_that_a_file_can_have(certificate: SigningCertificate) -> None:
    odd = Ingredient(make_file(colour="blue"), "image/png", "\udcff🦊.png")
    credentials = replace(make_credentials(odd), title="\ud800 fox", model="caf\udce9")
    manifest = read_manifest(sign_file(make_file(), "image/png", credentials, certificate))
    assert manifest.state == "valid" and manifest.picture["model"] == "caf\ufffd"
    assert relationships(manifest) == [("parentOf", "\ufffd🦊.png", "absent")]
