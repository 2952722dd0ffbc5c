"""Prompts in any script, with anything in them, become one readable line and a safe file name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sumi.pipelines.prompt import LONGEST_NAME_BYTES, clean, slug

anything = st.text(st.characters(), max_size=60)


@given(anything)
def test_a_cleaned_prompt_is_one_line_of_normal_unicode(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == clean(cleaned) == cleaned.strip()
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in cleaned)
    cleaned.encode("utf-8")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("  a red\tfox\r\n", "a red fox"),
        ("cafe\u0301", "café"),
        ("nul\0byte", "nul byte"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("lone \ud83e surrogate", "lone surrogate"),
        ("paired \ud83e\udd8a", "paired 🦊"),
        ("evil\u202etxt", "eviltxt"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("狐\u2028狸", "狐 狸"),
    ],
)
def test_what_cannot_be_seen_goes_and_what_joins_letters_stays(typed: str, read: str) -> None:
    assert clean(typed) == read


@given(anything)
def test_a_file_name_is_safe_anywhere(text: str) -> None:
    name = slug(text)
    assert name and len(name.encode()) <= LONGEST_NAME_BYTES
    assert not set(name) & set('/\\:*?"<>|. \0\n') and name[0] != "-" != name[-1]


def test_a_file_name_reads_like_the_prompt() -> None:
    assert slug("A red fox") == "a-red-fox"
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("ein Füchslein, 狐") == "ein-füchslein-狐"
    assert slug("...") == "picture" and slug("🦊") == "fox-face"
    assert slug("狐" * 500) == "狐" * 26
