"""A policy of one's own adds to the shipped one, its faults are named in one line, and it takes nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from sumi import Sumi, SumiError
from sumi.trust import ContentPolicyError, check_words, refuse_never
from sumi.trust.policy import SHIPPED, load_policy, read_policy

OWN = """
lists:
  tubers: potato, sweet potatoes
  child: whippersnapper
fuzzy: [tubers]
rules:
  - {id: tubers, category: vegetables, all: [tubers], action: review, where: everywhere}
  - {id: sexual-terms, category: sexual, all: [sexual], action: review, where: server}
  - {id: code-name, category: names, pattern: 'project [a-z]+ine', action: block}
"""
FAULTS = {
    "no YAML": ("{a: [", "is no YAML at line"),
    "a tag": ("rules: !!python/object/apply:os.system [ls]", "is no YAML"),
    "a list": ("- 1", "the file should be names with values"),
    "an unknown entry": ("words: {}", "unknown entry 'words'"),
    "a list that is missing": (
        "rules: [{id: a, category: b, all: [none]}]",
        "names the list none, which does not exist",
    ),
    "no id": ("rules: [{category: b, pattern: x}]", "a rule needs an id and a category"),
    "no condition": ("rules: [{id: a, category: b}]", "one of all, sequence and pattern"),
    "an action": ("rules: [{id: a, category: b, pattern: x, action: shout}]", "allow, review, block, not 'shout'"),
    "a pattern": ("rules: [{id: a, category: b, pattern: '('}]", "missing \\)"),
    "a number": ("lists: {a: [1]}", "lists: a should be a list of texts"),
    "a hard rule": ("rules: [{id: sexual-minors, category: b, pattern: x}]", "is hard, and no setting permits"),
    "a threshold": ("concepts: [{id: a, category: b, texts: [x], threshold: high}]", "a number from -1 to 1"),
    "a side": ("concepts: [{id: a, category: b, texts: [x], sides: [inside]}]", "input, output, not 'inside'"),
    "a version": ("version: 2", "version should be 1"),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(OWN, "utf-8")
    monkeypatch.setenv("SUMI_POLICY", str(path))
    return path


def test_own_policy_adds_lists_and_rules_with_reason_codes(own: Path) -> None:
    decision = load_policy().check_text("a p0tat0 and a sweet potatoes pie")
    assert decision.action == "review" and decision.categories == ("vegetables",)
    assert decision.to_json() == [{"code": "tubers", "category": "vegetables", "action": "review", "score": 1.0}]
    assert load_policy().check_text("a potatoe").action == "review", "one typing mistake"
    assert load_policy().check_text("Project Tangerine").action == "block"
    assert load_policy().check_text("a nude person").action == "review", "a rule that is not hard may be replaced"
    assert load_policy().check_text("a naked whippersnapper").action == "block", "lists of hard rules grow"
    assert load_policy().check_text("a red fox").action == "allow"
    refuse_never("a potato")  # a server may let a person decide


def test_review_rule_refuses_where_there_is_nobody_to_decide(own: Path, tiny: Sumi) -> None:
    with pytest.raises(ContentPolicyError, match="under vegetables") as refused:
        tiny.generate("a potato", anyway=True, size=16)
    assert refused.value.codes == ("tubers",)
    assert len(tiny.generate("a fox", size=16, steps=1)) == 1


def test_own_policy_cannot_hide_what_is_hard(own: Path) -> None:
    own.write_text("harmless: ['.*']\nreal_words: [naked, child]\n", "utf-8")
    policy = read_policy(own, read_policy(SHIPPED))
    assert policy.check_text("a naked child").action == "block"
    assert policy.check_text("a nude person").action == "allow"


@pytest.mark.parametrize("fault", FAULTS)
def test_read_policy_names_the_fault_in_one_line(fault: str, tmp_path: Path) -> None:
    text, message = FAULTS[fault]
    (tmp_path / "own.yaml").write_text(text, "utf-8")
    with pytest.raises(SumiError, match=message) as refused:
        read_policy(tmp_path / "own.yaml", read_policy(SHIPPED))
    assert "\n" not in str(refused.value)


def test_missing_policy_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUMI_POLICY", str(tmp_path / "none.yaml"))
    with pytest.raises(SumiError, match="cannot read the policy"):
        check_words("a fox")


def test_people_may_be_named_and_may_not_be_demeaned() -> None:
    for text in (
        "two women shoot hoops",
        "a muslim family with a dog",
        "women hang laundry",
        "a refugee and cockroaches",
    ):
        assert not check_words(text).flagged, text
    for text in ("immigrants are vermin", "lesbians deserve to die", "kill all immigrants"):
        assert check_words(text).flagged, text


def test_words_of_other_scripts_are_found_inside_a_sentence() -> None:
    assert check_words("裸体女孩").never and check_words("голая девочка").never and check_words("desnuda niña").never
