"""What is saved is what is loaded, and whatever does not fit is named, all of it, in one line."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sumi import SumiError
from sumi.bundles import Bundle, Card, default_bundle, save_bundle, weight_hash
from sumi.bundles.old_names import CLASSES, PARTS
from sumi.bundles.parts import ROOMS, resolve
from sumi.codecs import Autoencoder
from sumi.conditioning import CLIP, WordTokenizer
from sumi.nn import DenseDecoder, old_tensor_names


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refusal(folder: Path, part: str = "prior") -> str:
    with pytest.raises(SumiError) as caught:
        Bundle.load(folder).part(part)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_part_comes_back_as_it_was_saved(tiny_bundle: Bundle) -> None:
    assert list(tiny_bundle.parts) == ["clip", "prior", "codec", "decoder", "upsampler", "pca"]
    for name in tiny_bundle.parts:
        part = tiny_bundle.part(name)
        assert not part.training
        assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in part.parameters())
        assert weight_hash(part) == tiny_bundle.hashes[name]
        assert tiny_bundle.part(name) is part, "loaded once"


def test_bundle_in_a_folder_called_bundle_has_the_name_of_its_system(tiny_folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(tiny_folder, tmp_path / "bundle")
    assert (Bundle.load(copied).name, Bundle.load(tiny_folder).name) == ("unclip", "tiny")


def test_a_part_is_loaded_in_the_precision_asked_for(tiny_bundle: Bundle) -> None:
    part = tiny_bundle.part("prior", torch.bfloat16)
    assert {weight.dtype for weight in part.parameters()} == {torch.bfloat16}
    for name, weight in tiny_bundle.part("prior").named_parameters():
        assert torch.equal(weight, part.get_parameter(name).float()), "bfloat16 is what the file holds"


def test_a_loaded_network_computes_what_the_saved_one_did(tmp_path: Path) -> None:
    codec = Autoencoder(4, 2, [16], [1], [1])
    codec.latent_mean.fill_(0.123456789)
    with torch.no_grad():
        for weight in codec.parameters():
            weight.copy_(weight.bfloat16())
    loaded = save_bundle(tmp_path / "model", system="Tiny", parts={"codec": codec}).part("codec")
    assert isinstance(loaded, Autoencoder)
    x = torch.rand(2, 4, 16, 16)
    assert torch.equal(codec.encode(x), loaded.encode(x))


def test_bundle_with_old_tensor_and_argument_names_loads_the_same_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder = DenseDecoder(3, 4, 10, 7, width=16, depth=1, cond_width=12, num_queries=2, refiner=(16, 1))
    folder = save_bundle(tmp_path / "model", system="Tiny", parts={"decoder": decoder}).folder
    saved = load_file(folder / "decoder" / "model.safetensors")
    old = {name: was for was, name in old_tensor_names(decoder).items()}
    save_file({old.get(name, name): value for name, value in saved.items()}, folder / "decoder" / "model.safetensors")
    edit(folder / "decoder" / "config.json", lambda config: config.update(questions=config.pop("num_queries")))
    edit(folder / "model_index.json", lambda index: index.pop("hashes"))
    assert "refine.mouth.weight" in load_file(folder / "decoder" / "model.safetensors")
    loaded = Bundle.load(folder).part("decoder")
    assert all(torch.equal(value.bfloat16(), saved[name]) for name, value in loaded.state_dict().items())


def test_loading_draws_no_random_numbers(tiny_folder: Path) -> None:
    before = torch.random.get_rng_state()
    bundle = Bundle.load(tiny_folder)
    for name in bundle.parts:
        bundle.part(name)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_tokenizer_the_words_and_the_rights_travel_with_the_model(tiny_bundle: Bundle) -> None:
    tokenizer = tiny_bundle.tokenizer()
    assert isinstance(tokenizer, WordTokenizer) and "fox" in tokenizer.words
    assert tiny_bundle.vocabulary["concepts"]["dog"] == ["dog", "puppy"]
    assert tiny_bundle.rights[0]["licence"] == "CC0-1.0"
    card = (tiny_bundle.folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n") and "CC0-1.0" in card and "fox" in card


def test_the_card_says_what_its_makers_add() -> None:
    card = Card("Sticker", training="Ten hours.", results=[("top-1", "60%", "make exam")])
    text = card.text({"_sumi_version": "1"}, {}, {}, [], {})
    assert "Ten hours." in text and "| top-1 | 60% | make exam |" in text


def test_the_card_counts_the_training_pictures_of_each_source() -> None:
    rights = [{"licence": "CC0-1.0", "author": "Ann", "pictures": 1200}, {"licence": "MIT", "author": "Bo"}]
    text = Card("Sticker").text({"_sumi_version": "1"}, {}, {}, rights, {})
    assert "| CC0-1.0 | Ann |  | 1,200 |" in text and "| MIT | Bo |  | 1 |" in text


def test_every_missing_unused_and_misshapen_tensor_is_named(copy: Path) -> None:
    path = copy / "prior" / "model.safetensors"
    weights = load_file(path)
    del weights["query"], weights["out.bias"]
    weights["surplus"], weights["extra.weight"] = torch.zeros(1), torch.zeros(2)
    weights["positions"] = torch.zeros(3, 16)
    weights["text.bias"] = torch.zeros(16, dtype=torch.int64)
    save_file(weights, path)
    message = refusal(copy)
    for said in ("missing out.bias", "missing query", "unused surplus", "unused extra.weight"):
        assert said in message
    assert "misshapen positions (3x16 instead of 16x16)" in message
    assert "mistyped text.bias (torch.int64 instead of torch.float32)" in message


def test_weights_that_fit_but_are_not_those_saved_are_refused(copy: Path) -> None:
    path = copy / "prior" / "model.safetensors"
    weights = load_file(path)
    weights["query"] += 1
    save_file(weights, path)
    assert "is not the file that was saved" in refusal(copy)


def test_a_prior_beside_another_clip_is_refused_by_name(copy: Path, tiny_bundle: Bundle) -> None:
    clip = tiny_bundle.part("clip")
    assert isinstance(clip, CLIP)
    other = CLIP(**clip.config)
    donor = save_bundle(copy.parent / "donor", system="Tiny", parts={"clip": other})
    shutil.rmtree(copy / "clip")
    shutil.copytree(donor.folder / "clip", copy / "clip")
    edit(copy / "model_index.json", lambda index: index["hashes"].update(donor.hashes))
    message = refusal(copy, "prior")
    assert "the prior" in message and "trained on another clip" in message
    assert tiny_bundle.hashes["clip"][:12] in message and donor.hashes["clip"][:12] in message
    Bundle.load(copy).part("clip")


DAMAGE: dict[str, tuple[str, str | None, str]] = {
    "no weights": ("prior/model.safetensors", None, "is missing"),
    "no configuration": ("prior/config.json", None, "is missing"),
    "empty weights": ("prior/model.safetensors", "", "cannot be read|too short"),
    "pickled weights": ("prior/model.safetensors", "\x80\x02}q\x00." + "x" * 99, "header claims"),
    "bad JSON": ("prior/config.json", "{", "not valid JSON"),
    "YAML": ("prior/config.json", "!!python/object/apply:os.system [id]", "not valid JSON"),
    "a list": ("prior/config.json", "[]", "a JSON object"),
    "an unknown argument": ("prior/config.json", '{"size": 8, "colour": 3}', "colour"),
    "a wrong type": ("prior/config.json", '{"size": "8"}', "cannot be made"),
    "a null": ("prior/config.json", "null", "holds null"),
    "a huge width": (
        "prior/config.json",
        '{"size": 8, "token_width": 16, "context": 12, "width": 1048576, "depth": 1, "heads": 2}',
        "far larger network",
    ),
    "endless depth": (
        "prior/config.json",
        '{"size": 8, "token_width": 16, "context": 12, "width": 16, "depth": 100000000, "heads": 2}',
        "far larger network",
    ),
    "bad index": ("model_index.json", "\ufeff{}", "not valid JSON"),
    "index without a system": ("model_index.json", "{}", "_class_name"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_one_clear_line(case: str, copy: Path) -> None:
    name, text, says = DAMAGE[case]
    if text is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(text)
    message = refusal(copy)
    assert any(part in message for part in says.split("|")), message
    assert str(copy) in message


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["os", "system"], "cannot come from 'os'"),
        (["sumi.nn.prior", "PriorNetwork"], "cannot come from"),
        (["sumi.nn", "attend"], "no class 'attend'"),
        (["sumi.nn", "torch"], "no class 'torch'"),
        (["sumi.nn", "__loader__"], "no class"),
        (["sumi.nn", "Cond"], "not a network"),
        (["sumi.nn"], "[room, class]"),
        ("sumi.nn.PriorNetwork", "[room, class]"),
        ([1, 2], "[room, class]"),
    ],
)
def test_a_file_never_chooses_what_is_imported(row: Any, says: str, copy: Path) -> None:
    edit(copy / "model_index.json", lambda index: index.update(prior=row))
    assert says in refusal(copy)


@pytest.mark.parametrize("name", ["../clip", "/etc", "a b", "Prior", "", "x" * 65])
def test_a_part_cannot_be_named_out_of_its_folder(name: str, copy: Path) -> None:
    edit(copy / "model_index.json", lambda index: index.update({name: ["sumi.nn", "UNet"]}))
    assert "cannot be the name of a part" in refusal(copy)


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent", Path(__file__), Path("a\0b")):
        with pytest.raises(SumiError, match="no model in"):
            Bundle.load(folder)


def test_an_unknown_part_is_answered_with_those_there_are(tiny_bundle: Bundle) -> None:
    with pytest.raises(SumiError, match="no part 'painter'; it has clip, prior, codec"):
        tiny_bundle.part("painter")


def test_a_broken_tokenizer_is_named(copy: Path) -> None:
    for text in ('{"words": 5, "context": 3}', '{"words": [], "context": "x"}', '{"word": []}', "[]"):
        (copy / "tokenizer.json").write_text(text)
        with pytest.raises(SumiError, match=r"tokenizer\.json"):
            Bundle.load(copy).tokenizer()


@pytest.mark.parametrize("old", sorted(CLASSES))
def test_an_old_class_name_builds_the_class_of_today(old: str) -> None:
    assert any(getattr(importlib.import_module(room), CLASSES[old], None) is not None for room in ROOMS)
    assert not any(hasattr(importlib.import_module(room), old) for room in ROOMS)


@pytest.mark.parametrize(("old", "name"), PARTS.items())
def test_a_part_under_its_old_name_is_the_part_of_today(copy: Path, old: str, name: str) -> None:
    made = Bundle.load(copy).part("clip").state_dict()
    (copy / "clip").rename(copy / old)
    index = json.loads((copy / "model_index.json").read_text())
    index[old], index["hashes"][old] = index.pop("clip"), index["hashes"].pop("clip")
    (copy / "model_index.json").write_text(json.dumps(index))
    bundle = Bundle.load(copy)
    assert name in bundle.parts and name in bundle.hashes and old not in bundle.parts
    assert all(torch.equal(value, made[key]) for key, value in bundle.part(name).state_dict().items())


def test_a_bundle_builds_an_object_under_its_old_name(tiny_bundle: Bundle) -> None:
    assert type(tiny_bundle.build("sumi.diffusion", {"_class": "Flow"})).__name__ == "FlowSchedule"


def test_an_object_is_built_only_from_the_list(tiny_bundle: Bundle) -> None:
    assert type(tiny_bundle.build("sumi.diffusion", {"_class": "FlowSchedule"})).__name__ == "FlowSchedule"
    strange = [("os", {"_class": "system"}), ("sumi.diffusion", {"_class": "Flow", "x": 1}), ("sumi.diffusion", 3)]
    for room, spec in strange:
        with pytest.raises(SumiError):
            tiny_bundle.build(room, spec)
    with pytest.raises(SumiError):
        resolve("sumi.cli", "main")


def test_saving_over_a_model_replaces_it_whole(tmp_path: Path) -> None:
    codec = Autoencoder(4, 2, [16], [1], [1])
    first = save_bundle(tmp_path / "model", system="Tiny", parts={"codec": codec, "other": codec})
    assert set(first.parts) == {"codec", "other"}
    second = save_bundle(tmp_path / "model", system="Tiny", parts={"codec": codec})
    assert set(second.parts) == {"codec"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "other").exists()
    assert first.hashes["codec"] == second.hashes["codec"], "the same weights have the same name"


def test_the_model_to_use_can_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUMI_MODEL", str(tmp_path))
    assert default_bundle() == tmp_path
