"""Rights are read wherever they stand, bans are honoured, and every training picture can be found again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import c2pa
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from sumi.bundles.adapter import AdapterRecord, save_adapter
from sumi.curation.admission import TrainingRules, admit_pictures
from sumi.curation.embedded_rights import EmbeddedRights, _properties, read_embedded_rights
from sumi.curation.picture_rights import OptOuts, find_rights, read_opt_outs
from sumi.curation.scan import PictureScan, scan_record
from sumi.curation.training_manifest import MANIFEST, find_manifests, who_saw
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_dataset import make_record
from sumi.errors import SumiError
from sumi.imaging.image_file import read_image, rgba
from sumi.trust.certificate import load_certificate

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="dc" xmlns:p="plus" xmlns:r="xmpRights" {0}>{1}</rdf:Description>
</rdf:RDF></x:xmpmeta>"""
CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
NO_OPT_OUTS = OptOuts()


def draw(number: int) -> Image.Image:
    small = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)


def save(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def embedded(data: bytes) -> EmbeddedRights:
    return read_embedded_rights(data, read_image(io.BytesIO(data), "given"))


def with_xmp(attributes: str = "", body: str = "", kind: str = "PNG") -> bytes:
    packet = XMP.format(attributes, body)
    if kind != "PNG":
        return save(draw(0), kind, xmp=packet.encode())
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    return save(draw(0), pnginfo=info)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_embedded_rights_read_xmp_of_every_format(kind: str) -> None:
    creator = "<dc:creator><rdf:Seq><rdf:li>Ann Lee</rdf:li></rdf:Seq></dc:creator>"
    terms = "<r:UsageTerms><rdf:Alt><rdf:li>CC BY 4.0</rdf:li></rdf:Alt></r:UsageTerms>"
    found = embedded(with_xmp('r:WebStatement="example.org/terms"', creator + terms, kind))
    assert (found.author, found.licence, found.evidence) == ("Ann Lee", "CC BY 4.0", "example.org/terms")
    assert not found.ban and not found.is_generated


def test_embedded_rights_read_exif_and_iptc() -> None:
    exif = Image.Exif()
    exif[0x013B], exif[0x8298] = "Ann Lee", "CC-BY-4.0, Ann Lee"
    found = embedded(save(draw(0), "JPEG", exif=exif))
    assert (found.author, found.licence) == ("Ann Lee", "CC-BY-4.0, Ann Lee")
    record = b"\x1c\x02\x50\x00\x07Bo Diaz" + b"\x1c\x02\x74\x00\x06(c) Bo"
    block = b"8BIM\x04\x04\x00\x00" + len(record).to_bytes(4, "big") + record
    app13 = b"Photoshop 3.0\x00" + block + b"\x00" * (len(block) % 2)
    jpeg = save(draw(0), "JPEG")
    jpeg = jpeg[:2] + b"\xff\xed" + (len(app13) + 2).to_bytes(2, "big") + app13 + jpeg[2:]
    assert (embedded(jpeg).author, embedded(jpeg).licence, embedded(jpeg).evidence) == ("Bo Diaz", "", "(c) Bo")


@pytest.mark.parametrize(
    ("attributes", "body", "ban"),
    [
        ('p:DataMining="DMI-PROHIBITED-AIMLTRAINING"', "", "IPTC data mining: DMI-PROHIBITED-AIMLTRAINING"),
        ("", '<p:DataMining rdf:resource="vocab/DMI-PROHIBITED"/>', "IPTC data mining: DMI-PROHIBITED"),
        ("", "<dc:subject><rdf:Bag><rdf:li>NoAI</rdf:li></rdf:Bag></dc:subject>", "the keyword NoAI"),
        ('p:DataMining="DMI-ALLOWED"', "", ""),
    ],
)
def test_embedded_rights_honour_data_mining_and_noai(attributes: str, body: str, ban: str) -> None:
    assert embedded(with_xmp(attributes, body)).ban == ban


def test_embedded_rights_do_not_expand_entities() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "noai">]>' + XMP.format("", "<dc:subject>&b;</dc:subject>")
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", bomb)
    assert embedded(save(draw(0), pnginfo=info)) == EmbeddedRights()
    assert embedded(save(draw(0), "JPEG", xmp=f"\ufeff{bomb}".encode("utf-16-be"))) == EmbeddedRights()


def test_embedded_rights_visit_each_element_once_however_deep_descriptions_are_nested() -> None:
    depth = 50
    packet = "<Description>" * depth + "<subject><li>noai</li></subject>" + "</Description>" * depth
    elements = ElementTree.fromstring(packet)
    assert len(list(_properties(elements))) == depth + 1  # all but the outermost, which is no property
    assert embedded(save(draw(0), "JPEG", xmp=packet.encode())).ban


@pytest.mark.parametrize(("use", "banned"), [("notAllowed", True), ("constrained", True), ("allowed", False)])
def test_embedded_rights_honour_content_credentials(tmp_path: Path, use: str, banned: bool) -> None:
    certificate = load_certificate(tmp_path)
    assert certificate is not None
    entries = {"c2pa.ai_generative_training": {"use": use}}
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "format": "image/png",
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": CAPTURE}]}},
            {"label": "c2pa.training-mining", "data": {"entries": entries}},
        ],
    }
    info = c2pa.C2paSignerInfo(certificate.algorithm.encode(), certificate.chain, certificate.key, None)
    signed = io.BytesIO()
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
        builder.sign(signer, "image/png", io.BytesIO(save(draw(0))), signed)
    assert bool(embedded(signed.getvalue()).ban) is banned


def rights_of(fields: Mapping[str, Any], data: bytes | None = None, opt_outs: OptOuts = NO_OPT_OUTS) -> Any:
    content = data or save(draw(0))
    record = make_record("a.png", fields, lambda: content, ("", 0))
    return find_rights(record, scan_record(record), opt_outs)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"license": "CC0-1.0"}, "licensed"),
        ({}, "unlicensed"),
        ({"author": "Ann"}, "unlicensed"),
        ({"license": "CC0-1.0", "consent": "revoked"}, "forbidden"),
        ({"license": "CC0-1.0", "robots": "index, noai"}, "forbidden"),
        ({"license": "CC0-1.0", "X-Robots-Tag": "noimageai"}, "forbidden"),
        ({"license": "CC0-1.0", "tdm-reservation": 1}, "forbidden"),
        ({"license": "CC0-1.0", "robots": "index, follow"}, "licensed"),
    ],
)
def test_rights_of_a_row(fields: Mapping[str, Any], status: str) -> None:
    assert rights_of(fields).status == status


def test_rights_of_a_row_come_before_those_of_the_file() -> None:
    data = with_xmp('r:UsageTerms="CC0"', "<dc:creator>Bo</dc:creator>")
    found = rights_of({"license": "CC-BY-4.0"}, data)
    assert (found.licence, found.author) == ("CC-BY-4.0", "Bo")
    assert rights_of({"license": "CC0"}, with_xmp('p:DataMining="DMI-PROHIBITED"')).status == "forbidden"


def test_opt_outs_mean_a_file_an_author_and_pictures_that_look_alike(tmp_path: Path) -> None:
    scan = scan_record(make_record("a.png", {}, lambda: save(draw(3)), ("", 0)))
    path = tmp_path / "optouts.txt"
    path.write_text(f"# asked by mail\nauthor: Ann Lee\nphash: {scan.fingerprint.phash}\nsha256: {'0' * 64}\n")
    opt_outs = read_opt_outs([path])
    free = {"license": "CC0-1.0"}
    assert rights_of({**free, "author": "ann lee"}, opt_outs=opt_outs).status == "opted out"
    copy = save(ImageOps.mirror(draw(3)).resize((60, 60)), "JPEG", quality=50)
    assert rights_of(free, copy, opt_outs).status == "opted out"
    assert rights_of(free, save(draw(4)), opt_outs).status == "licensed"
    assert rights_of(free, save(draw(4)), OptOuts(frozenset({sha_of(draw(4))}))).status == "opted out"


def sha_of(image: Image.Image) -> str:
    return scan_record(make_record("", {}, lambda: save(image), ("", 0))).fingerprint.sha256


def test_opt_outs_name_the_line_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("author: Ann\nsha256: 12")
    with pytest.raises(SumiError, match=r"list\.txt, line 2: it should be"):
        read_opt_outs([tmp_path / "list.txt"])


def folder_of(place: Path) -> Path:
    """Three pictures: one licensed, one without a licence, one that forbids training."""
    place.mkdir()
    for number in range(3):
        draw(number).save(place / f"{number}.png")
    rows = [{"file_name": "0.png", "license": "CC0"}, {"file_name": "2.png", "license": "CC0", "robots": "noai"}]
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return place


def test_admission_leaves_out_what_may_not_be_trained_on(tmp_path: Path) -> None:
    dataset = open_dataset(folder_of(tmp_path / "own"))
    strict, wide = (admit_pictures(dataset, TrainingRules(allow)) for allow in (False, True))
    assert [record.name for record in strict.dataset] == ["0.png"] and not strict.note
    assert [record.name for record in wide.dataset] == ["0.png", "1.png"]
    assert wide.note == "1 of 2 training pictures name no licence."
    assert [one.status for one in strict.refused] == ["unlicensed", "forbidden"]
    assert len(admit_pictures(dataset, TrainingRules(declared={"licence": "own work"})).dataset) == 2


def test_admission_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    draw(0).save(tmp_path / "own" / "a.png")
    (tmp_path / "own" / "broken.png").write_bytes(b"no picture")
    admission = admit_pictures(open_dataset(tmp_path / "own"), TrainingRules())
    assert len(admission.rights) == 1 and "1 of 1 training pictures name no licence" in admission.note
    (tmp_path / "opt-out.txt").write_text("author: Ann")
    declared = TrainingRules(opt_outs=read_opt_outs([tmp_path / "opt-out.txt"]), declared={"author": "Ann"})
    with pytest.raises(SumiError, match=r"may be trained on \(1 "):
        admit_pictures(open_dataset(tmp_path / "own"), declared)


def test_who_saw_finds_files_and_copies_in_the_models_that_learned_from_them(tmp_path: Path) -> None:
    admission = admit_pictures(open_dataset(folder_of(tmp_path / "own")), TrainingRules(True))
    model = tmp_path / "runs" / "edm" / "bundle"
    model.mkdir(parents=True)
    admission.write(model)
    seen = lambda image: [(one.name, one.kind) for one in ask(save(image), tmp_path / "runs")]  # noqa: E731
    assert seen(draw(0)) == [("0.png", "same file")]
    assert seen(ImageOps.mirror(draw(1).resize((70, 80)))) == [("1.png", "near-duplicate")]
    assert seen(draw(2)) == seen(draw(9)) == []


def ask(data: bytes, root: Path) -> Any:
    scan: PictureScan = scan_record(make_record("", {}, lambda: data, ("", 0)))
    image = rgba(read_image(io.BytesIO(data), "given"))
    return list(who_saw(scan.fingerprint, image, find_manifests([root])))


@pytest.mark.parametrize(
    "data",
    [b"no gzip", gzip.compress(b'{"format": 2, "pictures": 0}\n', mtime=0), gzip.compress(b"[]", mtime=0)],
    ids=["no gzip", "another format", "a list"],
)
def test_manifest_that_is_damaged_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(SumiError, match=r"training_pictures.* cannot be read"):
        list(find_manifests([tmp_path]))


def test_who_saw_asks_adapters_for_the_files_that_taught_them(tmp_path: Path) -> None:
    data = save(draw(0))
    path = tmp_path / "mochi.safetensors"
    record = AdapterRecord(
        "mochi", "my cat Mochi", "mochi", "mochis", "cat", "tiny", {}, 4, 4.0, "2026-11-30T12:00:00Z",
        (hashlib.sha256(data).hexdigest(),), 10, "1",
    )  # fmt: skip
    save_adapter(path, {}, torch.zeros(2, 4), record)
    (tmp_path / "other.safetensors").write_bytes(b"something else")
    (found,) = ask(data, tmp_path)
    assert (found.model, found.name, found.kind) == (path, "my cat Mochi", "same file")
    assert ask(save(draw(1)), tmp_path) == []
