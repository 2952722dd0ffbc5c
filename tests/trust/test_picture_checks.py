"""Pictures are shown to every checker, concepts are found by CLIP's margin, and a checker that fails holds back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sumi import SumiError
from sumi.trust.picture_checks import ConceptChecker, check_picture, find_checkers
from sumi.trust.policy import PictureConcept, Policy, Reason

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
RED = PictureConcept("red-things", "colours", ("red",), ("green", "blue"), 0.2, "block", ("output",))


def embed_images(images: list[Image.Image]) -> np.ndarray:
    """A CLIP whose space is the mean colour."""
    return np.stack([np.asarray(image.convert("RGB"), np.float32).mean((0, 1)) for image in images])


def embed_texts(texts: list[str]) -> np.ndarray:
    return np.array([COLOURS[text] for text in texts], np.float32)


class Failing:
    def check(self, image: Image.Image, side: str) -> Sequence[Reason]:
        raise RuntimeError("out of order")


class Wrong:
    def check(self, image: Image.Image, side: str) -> Sequence[Reason]:
        return ["red"]  # type: ignore[list-item]


def test_concept_checker_finds_its_concept_on_its_side_only() -> None:
    checker = ConceptChecker([RED], embed_images, embed_texts)
    red, green = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "green")
    found = check_picture(red, "output", [checker])
    assert found.action == "block" and found.reasons[0].code == "red-things" and found.reasons[0].score > 0
    assert check_picture(green, "output", [checker]).action == "allow"
    assert check_picture(red, "input", [checker]).action == "allow"


@pytest.mark.parametrize("checker", [Failing(), Wrong(), ConceptChecker([RED], embed_images, embed_texts)])
def test_checker_that_fails_holds_the_picture_back(checker: Failing, caplog: pytest.LogCaptureFixture) -> None:
    black = Image.new("RGB", (4, 4), "black")  # without a direction in the space of colours
    with np.errstate(invalid="ignore"):
        decision = check_picture(black, "output", [checker])
    assert decision.action == "block" and decision.categories == ("checker-failed",)
    assert "failed" in caplog.text


def test_find_checkers_names_what_is_not_installed() -> None:
    with pytest.raises(SumiError, match="'nobody', and no installed package brings it"):
        find_checkers(Policy({}, (), picture_checkers=("nobody",)), None, None)
    with pytest.raises(SumiError, match="no CLIP to find them with"):
        find_checkers(Policy({}, (), concepts=(RED,)), None, None)
    assert find_checkers(Policy({}, ()), None, None) == []


def test_safety_checker_of_a_local_folder_flags_by_its_own_thresholds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    import json

    import torch
    from safetensors.torch import save_file

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 28, "patch_size": 14, "projection_dim": 8}
    torch.manual_seed(0)
    tower = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**vision))
    tensors = {f"vision_model.{name}": tensor for name, tensor in tower.state_dict().items()}
    tensors["visual_projection.weight"] = torch.randn(8, 16)
    tensors |= {"concept_embeds": torch.randn(17, 8), "special_care_embeds": torch.randn(3, 8)}
    for name, level in (("strict", -1.0), ("mild", 1.5)):
        weights = {"concept_embeds_weights": torch.full((17,), level), "special_care_embeds_weights": torch.ones(3)}
        (tmp_path / name).mkdir()
        save_file(
            {**{key: value.clone() for key, value in tensors.items()}, **weights}, tmp_path / name / "model.safetensors"
        )
        (tmp_path / name / "config.json").write_text(json.dumps({"vision_config": vision}))
    policy = Policy({}, (), picture_checkers=("safety-checker",))
    for name, action in (("strict", "block"), ("mild", "allow")):
        monkeypatch.setenv("SUMI_SAFETY_CHECKER", str(tmp_path / name))
        decision = check_picture(Image.new("RGB", (40, 30), "red"), "output", find_checkers(policy, None, None))
        assert decision.action == action, decision
    (tmp_path / "mild" / "model.safetensors").unlink()
    with pytest.raises(SumiError, match="no pickle is read"):
        find_checkers(policy, None, None)
