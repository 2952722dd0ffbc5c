"""Concepts and the words for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sumi.data.artwork import ARTISTS, load_artwork
from sumi.data.entries import everyday_entries
from sumi.data.facets import PLACES
from sumi.data.people import GENDERS, TONES, Person, gender_icon, strip_tone, tone_icon
from sumi.data.vocabulary import Vocabulary
from sumi.data.words import article, counted, load_annotations, plural, slug, table
from sumi.errors import SumiError


@pytest.fixture
def everyday(artwork_folder: Path) -> Vocabulary:
    return Vocabulary.everyday(load_artwork(artwork_folder))


@pytest.fixture
def full(artwork_folder: Path) -> Vocabulary:
    return Vocabulary.full(load_artwork(artwork_folder), load_annotations(artwork_folder))


def test_the_everyday_list_is_in_order() -> None:
    entries = list(everyday_entries())
    words = [word.lower() for entry in entries for word in entry.names]
    assert 300 <= len(entries) <= 500
    assert len(words) == len(set(words)), "no word names two things"
    assert len({entry.icon for entry in entries}) == len(entries)
    assert 8 <= sum(entry.role for entry in entries) <= 12


def test_every_facet_is_of_an_everyday_thing_and_within_its_box() -> None:
    icons = {entry.icon for entry in everyday_entries()}
    facets, anchors = table("facets"), table("anchors")
    for key in ("wear", "hold", "seat", "opening"):
        assert set(facets[key]) <= icons, key
    assert set(anchors["bearers"]) <= icons
    boxes = [*facets["seat"].values(), *facets["opening"].values()]
    for bearer in anchors["bearers"].values():
        boxes += [box for own in bearer.values() if isinstance(own, dict) for box in own.values()]
    for box in boxes:
        if isinstance(box, list):
            assert 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1, box


def test_everyday_keeps_what_every_hand_has_drawn(everyday: Vocabulary) -> None:
    assert everyday.names == ("dog", "fox", "fish", "top hat", "chef")
    assert all(set(concept.icons) == {"noto", "fluent", "twemoji"} for concept in everyday)


def write_further_artist(artwork_folder: Path, package: str, icons: dict[str, str]) -> None:
    """Put an icon set beside the three: icon -> body."""
    folder = artwork_folder / "node_modules" / "@iconify-json" / package
    folder.mkdir()
    files = {
        "icons": {"icons": {name: {"body": body} for name, body in icons.items()}, "width": 16, "height": 16},
        "info": {"author": {"name": "Another", "url": ""}, "license": {"spdx": "MIT"}},
        "metadata": {"categories": {"Objects": list(icons)}},
        "package": {"name": f"@iconify-json/{package}", "version": "1"},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")


def test_vocabulary_of_the_first_artists_ignores_what_lies_beside(artwork_folder: Path, everyday: Vocabulary) -> None:
    annotations = load_annotations(artwork_folder)
    full = Vocabulary.full(load_artwork(artwork_folder), annotations)
    write_further_artist(artwork_folder, "emojione", {"fox": "<path/>", "grinning-cat-face": "<path/>"})
    write_further_artist(artwork_folder, "openmoji", {"dog": "<path/>"})
    artworks = load_artwork(artwork_folder)
    assert {art.hand for art in artworks} == {"noto", "fluent", "twemoji", "emojione"}, "no share-alike set unasked"
    assert Vocabulary.everyday(artworks) == everyday
    assert Vocabulary.full(artworks, annotations) == full
    assert Vocabulary.having(everyday.names, artworks, annotations) == everyday
    assert Vocabulary.having(["fox"], artworks, annotations)["fox"].icons == everyday["fox"].icons


def test_wide_vocabulary_joins_artists_by_standard_name(artwork_folder: Path) -> None:
    write_further_artist(artwork_folder, "emojione", {"grinning-cat-face": "<path/>", "bagel": "<path/>"})
    wide = Vocabulary.wide(load_artwork(artwork_folder))
    assert wide["grinning cat"].icons["emojione"] == "grinning-cat-face"
    assert "bagel" not in wide, "one artist alone has drawn it"
    assert wide.names[:3] == ("dog", "fox", "fish") and not any("oclock" in name for name in wide.names)
    chef = {variant.person: variant.icons for variant in wide["chef"].variants}
    assert chef[Person("chef", "person", "dark")]["fluent"] == "cook-dark"


def test_share_alike_artist_is_read_only_where_it_is_named(artwork_folder: Path) -> None:
    write_further_artist(artwork_folder, "openmoji", {"dog": "<path/>"})
    artworks = load_artwork(artwork_folder, artists=(*ARTISTS, "openmoji"))
    assert Vocabulary.wide(artworks)["dog"].icons["openmoji"] == "dog"
    with pytest.raises(SumiError, match="no artist 'nobody': choose from noto, "):
        load_artwork(artwork_folder, artists=["nobody"])


def test_vocabulary_having_concepts_names_one_that_is_missing(artwork_folder: Path) -> None:
    with pytest.raises(SumiError, match=r"the artwork has no 'griffin', nor 1 others of 3 concepts"):
        Vocabulary.having(["fox", "griffin", "hydra"], load_artwork(artwork_folder))
    with pytest.raises(SumiError, match="no vocabulary 'huge': choose from everyday, full, wide"):
        Vocabulary.named("huge", load_artwork(artwork_folder))


def test_synonyms_find_their_concept(everyday: Vocabulary) -> None:
    dog = everyday.find("Puppy")
    assert dog is not None and dog.name == "dog" and everyday["dog"] is dog
    assert everyday.find("griffin") is None
    assert "fox" in everyday and everyday.ids["fox"] == 1
    with pytest.raises(SumiError, match="griffin"):
        everyday["griffin"]


def test_a_role_has_one_concept_with_its_people(everyday: Vocabulary) -> None:
    chef = everyday["chef"]
    assert chef.person
    people = [variant.person for variant in chef.variants]
    assert Person("chef", "man", "default") in people and Person("chef", "woman", "dark") in people
    dark = next(v for v in chef.variants if v.person == Person("chef", "person", "dark"))
    assert dark.icons == {
        "noto": "cook-dark-skin-tone",
        "fluent": "cook-dark",
        "twemoji": "cook-dark-skin-tone",
    }
    assert not everyday["fox"].person


def test_full_adds_the_rest_but_flags_and_clocks(full: Vocabulary) -> None:
    assert "grinning cat" in full
    assert not any("flag" in name or "oclock" in name for name in full.names)
    assert full.names.count("chef") == 1 and "man cook" not in full.names


def test_a_keyword_counts_only_where_it_is_unambiguous(full: Vocabulary) -> None:
    fox = full.find("reynard")
    assert fox is not None and fox.name == "fox"
    assert full.find("barker") is None, "two concepts claim it"
    assert full.find("pet") is None, "too vague to name one thing"


def test_a_word_never_names_two_things(full: Vocabulary) -> None:
    words = [word.lower() for concept in full for word in concept.words]
    assert len(words) == len(set(words))


def test_a_vocabulary_survives_json(full: Vocabulary) -> None:
    assert Vocabulary.from_json(json.loads(json.dumps(full.to_json()))) == full
    with pytest.raises(SumiError, match="vocabulary"):
        Vocabulary.from_json({"concepts": [{"name": "fox"}]})


def test_a_subset_keeps_the_order(full: Vocabulary) -> None:
    assert full.subset(["fox", "dog"]).names == ("dog", "fox")
    with pytest.raises(SumiError, match="griffin"):
        full.subset(["griffin"])


def test_anchors_lie_within_the_drawing_and_mirror(everyday: Vocabulary) -> None:
    for hand in ("noto", "fluent", "twemoji", "font"):
        anchors = everyday["dog"].anchors(hand)
        assert anchors is not None and anchors.head is not None
        assert anchors.mirrored().mirrored().facing == anchors.facing
        for name in PLACES:
            box, mirrored = anchors.place(name), anchors.mirrored().place(name)
            if box is not None:
                assert mirrored is not None
                assert mirrored[0] + box[2] == pytest.approx(1.0) and mirrored[1] == box[1]
    assert everyday["top hat"].anchors("noto") is None
    wearable = everyday["top hat"].facets.wearable
    assert wearable is not None and wearable.place == "head"


def test_icon_names_of_people() -> None:
    assert gender_icon("person-running", "man") == "man-running"
    assert tone_icon("cook", "dark", "fluent") == "cook-dark"
    assert tone_icon("cook", "default", "noto") == "cook"
    assert strip_tone("cook-medium-light-skin-tone") == "cook"
    assert len(TONES) == 6 and len(GENDERS) == 3


@pytest.mark.parametrize(
    ("word", "single", "several"),
    [
        ("fox", "a fox", "two foxes"),
        ("owl", "an owl", "two owls"),
        ("unicorn", "a unicorn", "two unicorns"),
        ("UFO", "a UFO", "two UFOs"),
        ("hourglass", "an hourglass", "two hourglasses"),
        ("fish", "a fish", "two fish"),
        ("computer mouse", "a computer mouse", "two computer mice"),
        ("wolf", "a wolf", "two wolves"),
        ("cherry", "a cherry", "two cherries"),
        ("glasses", "glasses", "two pairs of glasses"),
        ("red glasses", "red glasses", "two pairs of red glasses"),
        ("grapes", "grapes", "two bunches of grapes"),
        ("bread", "bread", "two loaves of bread"),
        ("drop of water", "a drop of water", "two drops of water"),
        ("stack of books", "a stack of books", "two stacks of books"),
        ("blue bow and arrow", "a blue bow and arrow", "two blue bows and arrows"),
        ("orange owl", "an orange owl", "two orange owls"),
        ("police officer", "a police officer", "two police officers"),
    ],
)
def test_words_bend(word: str, single: str, several: str) -> None:
    assert article(word) == single
    assert counted(1, word) == single
    assert counted(2, word) == several


def test_a_plural_stays_plural() -> None:
    assert plural("French fries") == "French fries"
    assert counted(12, "fox") == "12 foxes"


def test_slugs_are_icon_names() -> None:
    assert slug("woman’s hat") == "womans-hat"
    assert slug("T-Rex") == "t-rex"


def test_damaged_annotations_are_named(tmp_path: Path) -> None:
    (tmp_path / "cldr").mkdir()
    (tmp_path / "cldr" / "en.xml").write_text("<ldml>", "utf-8")
    with pytest.raises(SumiError, match=r"en\.xml"):
        load_annotations(tmp_path)
