"""A picture that is saved is signed, names the pictures that it was made from, and can be drawn again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sumi.pipelines.recipe import read_recipe
from sumi.pipelines.signing import find_certificate
from sumi.systems.unclip.artist import Sumi
from sumi.trust.credentials import Manifest, read_manifest
from sumi.trust.verify import check_provenance


def manifest_of(data: bytes) -> Manifest:
    certificate = find_certificate()
    assert certificate is not None
    return read_manifest(data, certificate.anchors)


def test_save_signs_and_png_stays_the_same_each_time(tiny: Sumi, tmp_path: Path) -> None:
    picture = tiny.generate("a red fox", seed=3)[0]
    data = picture.save(tmp_path / "fox.png").read_bytes()
    manifest = manifest_of(data)
    assert manifest.state == "trusted" and manifest.source_type == "trainedAlgorithmicMedia"
    assert manifest.picture["model"] == "tiny" and "CC0-1.0, A|B" in manifest.picture["rights"]
    assert picture.png() == picture.png() == picture.save(tmp_path / "bare.png", sign=False).read_bytes()
    found = check_provenance(data, Image.open(io.BytesIO(data)))
    assert found.recipe_is_signed and found.recipe is not None and found.recipe["prompt"] == "a red fox"


def test_signed_picture_is_drawn_again_from_its_recipe(tiny: Sumi, tmp_path: Path) -> None:
    picture = tiny.generate("a red fox", seed=3)[0]
    image, recipe = read_recipe(picture.save(tmp_path / "fox.png"))
    assert recipe == replace(picture.recipe, score=None) and image.tobytes() == picture.image.tobytes()


@pytest.mark.parametrize("form", ["path", "bytes", "file", "picture"])
def test_edits_name_the_picture_that_they_were_made_from(tiny: Sumi, tmp_path: Path, form: str) -> None:
    drawn = tiny.generate("a red fox", seed=3)[0]
    path = drawn.save(tmp_path / "fox.png")
    given = {"path": path, "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes()), "picture": drawn}[form]
    edited = tiny.edit(given, "a blue fox", expand=(16, 0, 0, 0), seed=1)[0]
    manifest = manifest_of(edited.signed_png())
    assert manifest.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert [(one["relationship"], one["manifest"]) for one in manifest.ingredients] == [("parentOf", "valid")]


def test_blend_of_a_bare_image_names_both_and_marks_of_one(tiny: Sumi, leaf: Image.Image) -> None:
    drawn = tiny.generate("a red fox", seed=3, size=16)[0]
    blended = tiny.blend(leaf, drawn, amount=0.5, seed=1, size=16)[0]
    found = manifest_of(blended.signed_png()).ingredients
    assert [(one["relationship"], one["manifest"]) for one in found] == [
        ("componentOf", "absent"),
        ("componentOf", "valid"),
    ]


def test_signing_that_is_off_leaves_the_file_as_it_is(tiny: Sumi, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tiny.generate("a red fox", seed=3)[0]
    monkeypatch.setenv("SUMI_SIGNING", "off")
    assert picture.signed_png() == picture.png()


def test_png_carries_the_fields_of_iptc_whatever_the_prompt_holds(tiny: Sumi) -> None:
    prompt = "a <fox> & ]]> \x00\ud800 end"
    data = tiny.generate(prompt, seed=3, anyway=True)[0].png()
    text = Image.open(io.BytesIO(data)).info["XML:com.adobe.xmp"]
    assert "digitalsourcetype/trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>" in text
    assert "Sumi (tiny)</Iptc4xmpExt:AISystemUsed>" in text and "&lt;fox&gt; &amp;" in text
    from xml.etree import ElementTree

    ElementTree.fromstring(text)  # well-formed
