import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sumi.conditioning import WordTokenizer
from sumi.conditioning.tokenizer import END, FIRST_BYTE, FIRST_WORD

TAUGHT = WordTokenizer(["a", "fox", "red", "t-rex", "the"], context=16)


def test_tokenizer_gives_one_id_for_a_taught_word_and_bytes_for_another() -> None:
    ids = TAUGHT.ids("A red fax")
    assert ids[:2] == [FIRST_WORD, FIRST_WORD + 2]
    assert ids[2:] == [FIRST_BYTE + byte for byte in b"fax"]


def test_tokenizer_spells_quoted_text_with_its_capitals() -> None:
    assert TAUGHT.ids('"fox"') == [FIRST_BYTE + byte for byte in b'"fox"']
    assert TAUGHT.ids('"FOX"') != TAUGHT.ids('"fox"')
    assert TAUGHT.ids("“FOX”") == TAUGHT.ids('"FOX"')


def test_tokenizer_ignores_case_and_punctuation() -> None:
    assert TAUGHT.ids("The RED, fox.") == TAUGHT.ids("the red fox")


def test_tokenizer_encode_ends_pads_and_cuts() -> None:
    rows = TAUGHT.encode(["a fox", "", "fox " * 40])
    assert rows.shape == (3, 16) and rows.dtype == torch.int64
    assert rows[0].tolist() == [FIRST_WORD, FIRST_WORD + 1, END] + [0] * 13
    assert not rows[1].any()
    assert rows[2, -1] == END
    assert TAUGHT.fits("a fox") and not TAUGHT.fits("fox " * 40)


def test_tokenizer_unknown_lists_each_word_once_in_order() -> None:
    assert TAUGHT.unknown('a zebra and the gnu and "letters"') == ["zebra", "and", "gnu"]


def test_tokenizer_learn_counts_words_outside_quotes() -> None:
    made = WordTokenizer.learn(['a fox "HI"', "a fox", "a cat"], context=8, minimum=2)
    assert made.words == ("a", "fox")
    assert WordTokenizer(**made.config).ids("a fox") == made.ids("a fox")


@given(st.text(max_size=60))
@pytest.mark.filterwarnings("error")
def test_tokenizer_ids_of_any_text_are_valid(text: str) -> None:
    row = TAUGHT.encode([text])[0]
    assert int(row.min()) >= 0 and int(row.max()) < TAUGHT.size
