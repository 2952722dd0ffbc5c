"""Teaching a tiny model a new word: what is written, what it changes, and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sumi.bundles import Adapter, Bundle, open_adapter
from sumi.conditioning import Lexicon, WordTokenizer
from sumi.errors import SumiError
from sumi.pipelines import EncodedText
from sumi.pipelines.events import Sample
from sumi.pipelines.layered_image import Composition, LayerSpec
from sumi.pipelines.steps import Pause, Work, drive_to_end, map_events
from sumi.systems.unclip import teach as teaching
from sumi.systems.unclip.adapted import StandInPlanner
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.forward import forward
from sumi.systems.unclip.model import assemble
from sumi.systems.unclip.new_word import NewWord, StandIn, extend_record, extend_tokenizer, parse_concept, stand_ins
from sumi.systems.unclip.teach import TeachSettings, teach_word
from sumi.systems.unclip.teaching_set import own_prompts, vary_pictures
from sumi.training.loop import Report

SETTINGS = TeachSettings(steps=4, rank=2, alpha=2.0, own=8, lr=0.02)
NOUNS = {"fox": ["a fox", "foxes", "foxes"], "owl": ["an owl", "owls", "owls"], "cat": ["a cat", "cats", "cats"]}
RECORD = {
    "concepts": {name: [name] for name in NOUNS}, "nouns": NOUNS, "colours": ["red", "blue"], "counts": ["two"],
    "words": ["a", "an", "red", "blue", "fox", "foxes", "owl", "owls", "cat", "cats", "and", "two"], "relations": [],
    "sizes": [], "tones": [], "styles": {}, "shapes": [],
}  # fmt: skip
READER = WordTokenizer(RECORD["words"], 12)


def draw_wug(path: Path, hue: int, opaque: bool = False) -> None:
    page = Image.new("RGBA", (48, 40), (250, 250, 250, 255) if opaque else (0, 0, 0, 0))
    ImageDraw.Draw(page).ellipse((8, 4, 38, 34), fill=(30, hue, 200, 255))
    page.save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wugs")
    for number in range(3):
        draw_wug(folder / f"{number}.png", 60 * number)
    return folder


@pytest.fixture(scope="module")
def adapters(tiny_bundle: Bundle, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter of the word wug, and one of the word zed."""
    folder = tmp_path_factory.mktemp("adapters")
    for concept in ("my wug", "a fox called zed"):
        assert teach_word(pictures, concept, tiny_bundle, SETTINGS, folder=folder, quiet=True) is not None
    return folder


@pytest.fixture
def model(tiny_bundle: Bundle, adapters: Path, monkeypatch: pytest.MonkeyPatch) -> Sumi:
    monkeypatch.setenv("SUMI_ADAPTERS", str(adapters))
    return assemble(tiny_bundle)


# The file.


def test_adapter_keeps_the_record_of_its_pictures(adapters: Path, pictures: Path, tiny_bundle: Bundle) -> None:
    adapter = open_adapter("wug", adapters)
    record = adapter.record
    assert (record.word, record.plural, record.concept, record.base) == ("wug", "wugs", "my wug", "tiny")
    assert list(record.pictures) == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(pictures.iterdir())
    ]
    assert record.hashes == {part: tiny_bundle.hashes[part] for part in ("clip", "prior", "decoder", "codec")}
    assert (record.rank, record.alpha, record.steps) == (2, 2.0, 4)
    assert adapter.parts == {"prior", "decoder"}
    assert adapter.path.stat().st_size < 200_000
    assert (adapters / "wug.png").is_file() and not (adapters / "wug.teaching").exists()
    log = {path.name for path in (adapters / "wug.taught").iterdir()}
    assert {"metrics.jsonl", "plan.json", "settings.json"} <= log and not log & {"checkpoints", "own.safetensors"}


def test_adapter_file_is_plain_safetensors_in_the_names_of_peft(adapters: Path) -> None:
    data = (adapters / "wug.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"]["num_pictures"] == "3"
    names = {name for name in header if name not in ("__metadata__", "words")}
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names)
    assert {name.split(".")[0] for name in names} == {"prior", "decoder"}


def test_adapter_of_another_base_is_refused_in_one_line(adapters: Path, tiny_bundle: Bundle) -> None:
    adapter = Adapter(adapters / "wug.safetensors")
    adapter.check_base(tiny_bundle.hashes, "tiny")
    with pytest.raises(
        SumiError, match="the adapter wug was made for another model than tall: for tiny, whose decoder"
    ):
        adapter.check_base({**tiny_bundle.hashes, "decoder": "0" * 64}, "tall")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:100], "truncated"),
        (lambda data: data.replace(b"sumi-adapter-1", b"sumi-adapter-9"), "no adapter"),
        (lambda data: data.replace(b'"rank"', b'"rink"'), "lacks rank"),
        (lambda data: data.replace(b"lora_A", b"lora_C"), "no change of a layer"),
        (lambda data: data.replace(b'"rank":"2"', b'"rank":"0"'), "does not make sense"),
    ],
)
def test_damaged_adapter_is_refused_in_one_line(adapters: Path, tmp_path: Path, damage, fault: str) -> None:
    path = tmp_path / "wug.safetensors"
    path.write_bytes(damage((adapters / "wug.safetensors").read_bytes()))
    with pytest.raises(SumiError, match=fault) as error:
        Adapter(path)
    assert "\n" not in str(error.value)


# Drawing.


def test_adapter_changes_the_picture_and_its_weight_how_much(model: Sumi) -> None:
    drawn = {weight: np.asarray(model.with_adapters(f"wug:{weight}").generate("a wug", seed=1)[0].image.convert("RGBA"))
             for weight in (0, 0.5, 1)}  # fmt: skip
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0.5], drawn[1])


def test_adapter_leaves_prompts_without_its_word_as_they_are_to_the_bit(model: Sumi) -> None:
    plain = model.generate("a red fox", seed=3)[0].image
    assert model.with_adapters("wug").generate("a red fox", seed=3)[0].image.tobytes() == plain.tobytes()


def test_adapter_leaves_other_rows_of_a_batch_as_they_are(model: Sumi) -> None:
    taught = model.with_adapters("wug")
    work = forward(taught.pipeline, ["a wug", "a red fox", "a wug"], [4, 3, 5])
    drawn = [event.image for event in collect_events(work)]
    alone = [collect_events(forward(taught.pipeline, [text], [seed]))[0].image
             for text, seed in (("a wug", 4), ("a red fox", 3), ("a wug", 5))]  # fmt: skip
    plain = collect_events(forward(model.pipeline, ["a red fox"], [3]))[0].image
    assert torch.equal(drawn[1], plain)
    for one, other in zip(drawn, alone, strict=True):
        assert (one.int() - other.int()).abs().max() <= 1


def test_adapters_combine_and_their_words_too(model: Sumi) -> None:
    both = model.with_adapters("wug:0.8", "zed:0.5")
    assert both.reader.words[-4:] == ("wug", "wugs", "zed", "zeds")  # type: ignore[attr-defined]
    picture = both.generate("a wug and a zed", seed=1)[0]
    assert picture.recipe.adapters == "wug:0.8,zed:0.5"
    assert {name for name in picture.recipe.hashes if name.startswith("adapter")} == {"adapter wug", "adapter zed"}
    assert both.notes(replace(picture.recipe.request(), interpretations=())) == []


def test_task_with_adapters_equals_the_model_with_adapters(model: Sumi) -> None:
    from sumi.pipelines import Picture, Request

    task = Request("a wug", seed=4, adapters="wug")
    drawn = [event for event in model.stream(task) if isinstance(event, Picture)]
    assert drawn[0].image.tobytes() == model.with_adapters("wug").generate("a wug", seed=4)[0].image.tobytes()


def test_picture_of_an_adapter_is_drawn_again_from_its_recipe(model: Sumi) -> None:
    from sumi.pipelines import Picture

    picture = model.with_adapters("wug:0.7").generate("a wug", seed=5)[0]
    again = [event for event in model.replay(picture.recipe) if isinstance(event, Picture)]
    assert again[0].image.tobytes() == picture.image.tobytes()


def test_model_without_the_adapter_does_not_know_the_word(model: Sumi) -> None:
    with pytest.raises(SumiError, match="knows nothing of"):
        model.generate("wug")


def collect_events(work: Work[None]) -> list[Sample]:
    samples: list[Sample] = []

    def keep(event: object) -> Pause:
        samples.extend([event] if isinstance(event, Sample) else [])
        return Pause()

    drive_to_end(map_events(work, keep))
    return samples


# Training.


def test_teaching_resumes_to_the_same_bytes(
    tiny_bundle: Bundle, pictures: Path, adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "PLAN", replace(teaching.PLAN, log_s=0.0, checkpoint_s=0.0))

    def interrupt(report: Report) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach_word(pictures, "my wug", tiny_bundle, SETTINGS, folder=tmp_path, quiet=True, on_report=interrupt)
    assert (tmp_path / "wug.teaching" / "checkpoints").is_dir() and not (tmp_path / "wug.safetensors").exists()
    resumed = teach_word(pictures, "my wug", tiny_bundle, SETTINGS, folder=tmp_path, quiet=True)
    straight = open_adapter("wug", adapters)
    assert resumed is not None and torch.equal(resumed.words, straight.words)
    files = [(folder / "wug.safetensors").read_bytes() for folder in (tmp_path, adapters)]
    ends = [data[8 + int.from_bytes(data[:8], "little") :] for data in files]
    assert ends[0] == ends[1]


def test_unfinished_run_of_other_pictures_is_not_continued(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    home = tmp_path / "wug.teaching"
    home.mkdir()
    (home / "teach.json").write_text('{"concept": "my wug", "pictures": []}')
    with pytest.raises(SumiError, match=r"unfinished run with other .*pictures.*--fresh begins again"):
        teach_word(pictures, "my wug", tiny_bundle, SETTINGS, folder=tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("concept", "fault"),
    [
        ("a red fox", "knows every word"),
        ("", "needs a name"),
        ("my ÄÖÜ☃", "cannot name a file"),
        ("naked child", "does not draw this"),
    ],
)
def test_teaching_refuses_a_name_in_one_line(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, concept: str, fault: str
) -> None:
    with pytest.raises(SumiError, match=fault) as error:
        teach_word(pictures, concept, tiny_bundle, SETTINGS, folder=tmp_path, quiet=True)
    assert "\n" not in str(error.value)


def test_teaching_refuses_a_single_picture(tiny_bundle: Bundle, tmp_path: Path) -> None:
    draw_wug(tmp_path / "one.png", 9)
    with pytest.raises(SumiError, match="has 1 pictures that can be read: teaching takes 2 to 2000"):
        teach_word(tmp_path, "my wug", tiny_bundle, SETTINGS, folder=tmp_path, quiet=True)


# The word.


def test_concept_gives_the_word_and_what_it_is() -> None:
    lexicon = Lexicon(RECORD)
    assert parse_concept("my cat Mochi", lexicon, READER) == NewWord("mochi", "mochis", "my cat Mochi", "cat")
    assert parse_concept("Mr Whiskers", lexicon, READER).word == "whiskers"
    assert parse_concept("a wug", lexicon, READER) == NewWord("wug", "wugs", "a wug", "")


def test_prompt_with_the_whole_name_is_read_as_the_word() -> None:
    from sumi.conditioning import interpret

    lexicon = Lexicon(extend_record(RECORD, [NewWord("mochi", "mochis", "my cat Mochi", "cat")]))
    assert interpret("my cat Mochi and a red fox", lexicon).drawn_as == "a mochi and a red fox"
    assert interpret("two mochis", lexicon).drawn_as == "two mochis"
    assert interpret("a red mochi", lexicon).unknown == ()


def test_word_that_two_adapters_teach_is_refused() -> None:
    word = NewWord("wug", "wugs", "a wug")
    with pytest.raises(SumiError, match="'wug' is taught twice"):
        extend_tokenizer(READER, [word, word])


# The layout planner, which has no row for a new word.


def test_planner_plans_a_new_word_as_a_thing_the_prompt_does_not_name(tiny_bundle: Bundle) -> None:
    words = (NewWord("wug", "wugs", "a wug"),)
    reader = extend_tokenizer(READER, words)
    things = tuple(stand_ins(Lexicon(RECORD), READER))
    assert StandIn("fox", *READER.ids("fox foxes")) in things
    read: list[str] = []

    class Clip:
        def encode_text(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(len(ids), 4), torch.zeros(*ids.shape, 4)

    def plan(text: EncodedText, seeds) -> list[Composition]:
        read.extend(READER.text([own for own in row if own > 1]) for row in text.ids.tolist())
        return [Composition(tuple(LayerSpec(thing, ()) for thing in prompt.split(" and "))) for prompt in read]

    planner = StandInPlanner(plan, Clip(), reader, words, ((things[0], *things[1:]),))  # type: ignore[arg-type]
    ids = reader.encode(["a red wug and a fox"])
    made = planner(EncodedText(torch.zeros(1, 4), torch.zeros(1, 12, 4), ids), [0])
    assert "wug" not in read[0] and read[0].endswith("and a fox") and not read[0].startswith("a red fox")
    assert [layer.prompt for layer in made[0].layers] == ["a red wug", "a fox"]


# The pictures.


def test_variations_are_painted_in_the_colour_that_their_caption_names() -> None:
    lexicon = Lexicon(extend_record(RECORD, [NewWord("wug", "wugs", "a wug")]))
    levels = np.zeros((1, 4, 64, 64), np.uint8)
    levels[0, 1:, 16:48, 16:48] = np.array([160, 90, 255], np.uint8)[:, None, None]
    made = vary_pictures(levels, [""], NewWord("wug", "wugs", "a wug"), lexicon, 60, 16, seed=0)
    for picture, caption in zip(made.pictures, made.captions, strict=True):
        shown = picture[:, picture[3] > 200].mean(axis=1)
        if "red" in caption:
            assert shown[0] > shown[1] + 60 and shown[0] > shown[2] + 60, caption
        elif "blue" in caption:
            assert shown[2] > shown[0] + 60, caption
        else:
            assert shown[1] > shown[0] + 60, caption
    assert {"a red wug", "a blue wug", "a wug"} <= set(made.captions)
    assert len({picture.tobytes() for picture in made.pictures}) > 50


def test_photographs_are_not_recoloured_and_keep_their_own_captions() -> None:
    lexicon = Lexicon(extend_record(RECORD, [NewWord("wug", "wugs", "a wug")]))
    levels = np.full((2, 4, 64, 64), 255, np.uint8)
    levels[:, 0] = 40
    captions = ["a wug and a fox", ""]
    made = vary_pictures(levels, captions, NewWord("wug", "wugs", "a wug"), lexicon, 20, 16, seed=0)
    assert set(made.captions[::2]) == {"a wug and a fox"}
    assert not any("red" in caption or "blue" in caption for caption in made.captions)
    assert all((picture[3] == 255).all() and picture[0].mean() < 60 for picture in made.pictures)


def test_own_prompts_name_known_things() -> None:
    prompts = own_prompts(Lexicon(RECORD), 12, seed=0)
    assert len(prompts) == 12 and all(any(noun in prompt for noun in NOUNS) for prompt in prompts)
    assert any("red" in prompt or "blue" in prompt for prompt in prompts)
    assert prompts == own_prompts(Lexicon(RECORD), 12, seed=0)
