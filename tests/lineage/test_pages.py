"""What the lineage's pages say of a system, from figures that a test writes."""

from __future__ import annotations

import re
from typing import Any

from sumi.lineage.docs_block import fill_results
from sumi.lineage.html_page import lineage_page

SHARE = {"share": 0.625, "low": 0.41, "high": 0.789}
TRUTH: dict[str, Any] = {
    "name": "true pictures", "summary": "held out", "quality": {"kid": 0.001, "error": 0.0004},
    "asked": SHARE, "known": {"share": 1.0, "low": 0.9, "high": 1.0}, "nearest": 0.25,
}  # fmt: skip
DDPM: dict[str, Any] = {
    **TRUTH, "name": "ddpm", "year": 2020, "summary": "denoises & draws", "told": "a label", "steps": {"network": 9},
    "quality": {"kid": 1.2345, "error": 0.0567}, "parameters": 1_234_000, "train_s": 59.6, "sample_s": 0.01234,
    "walk": "100 of 1000", "not_drawing": [], "curves": {"network": [[0, 2.0], [5, 1.0], [10, 0.5]]},
    "over_seeds": {"count": 3, "kid": {"mean": 1.25, "least": 1.2, "most": 1.3}},
}  # fmt: skip
GAN = {
    **DDPM,
    "name": "gan",
    "asked": None,
    "not_drawing": ["classifier"],
    "over_seeds": {},
    "curves": {"gan": [[1, 1.0]]},
}
EDM = {"name": "edm", "year": 2022, "summary": "designs", "error": "ZeroDivisionError: <none>"}
TERMS: dict[str, Any] = {
    "size_px": 16, "processor_s": 59.7, "n": 64, "num_true": 1200, "num_things": 24, "num_pictures": 2880,
    "cores": 2, "eye": "sticker", "walk": 100, "version": "1.0", "batch": 64,
}  # fmt: skip


def test_block_of_a_docs_page_holds_pictures_and_rows_of_its_systems_and_of_the_truth() -> None:
    page = "before\n<!-- sumi lineage: ddpm, edm, nobody -->\nold\n<!-- end -->\nafter\n"
    record = {"terms": TERMS, "systems": [GAN, DDPM, EDM], "truth": TRUTH}
    filled = fill_results(page, record, "lineage")
    assert filled.startswith("before\n<!-- sumi lineage: ddpm, edm, nobody -->\n")
    assert filled.endswith("\n<!-- end -->\nafter\n") and "old" not in filled and "gan" not in filled
    assert "at 16 px, after 60 seconds" in filled
    assert filled.count("![") == 1 and "![`ddpm`: sixteen pictures](../lineage/ddpm.png)" in filled
    lines = [line for line in filled.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| `ddpm` | 1.23 ± 0.06 | 62% (41 to 79) | 100% (90 to 100) | 1.23 M | 60 s | 0.012 s |",
        "| `edm` | failed | | | | | |",
        "| true pictures | 0.00 ± 0.00 | 62% (41 to 79) | 100% (90 to 100) |  |  |  |",
    ]
    assert fill_results(filled, record, "lineage") == filled


def test_block_of_systems_that_the_record_does_not_have_stays_as_it_is() -> None:
    page = "<!-- sumi lineage: nobody -->\nold\n<!-- end -->"
    assert fill_results(page, {"terms": TERMS, "systems": [DDPM], "truth": TRUTH}, "lineage") == page


def table(page: str) -> list[list[str]]:
    rows = re.findall(r'<tr class="[^"]*">(.*?)</tr>', page)
    return [re.findall(r"<td>(.*?)</td>", row) for row in rows]


def test_page_has_a_row_of_figures_for_each_system_and_for_the_truth() -> None:
    page = lineage_page([DDPM, GAN, EDM], TRUTH, TERMS)
    ddpm, gan, truth = table(page)
    share = "62% <small>(41 to 79)</small>"
    assert ddpm == [
        "ddpm", "2020", "a label", "1.234 ± 0.057", "1.250 <small>(1.200 to 1.300)</small>", share,
        "100% <small>(90 to 100)</small>", "0.250", "1.23 M", "60 s", "0.012 s", "100 of 1000",
    ]  # fmt: skip
    assert (gan[4], gan[5], gan[9]) == ("", "", "60 s*")
    assert truth == ["true pictures", "", "", "0.001 ± 0.000", "", share, ddpm[6], "0.250", "", "", "", ""]
    assert '<td colspan="10" class="failed">failed</td>' in page and '<tr class="truth">' in page


def test_page_says_what_was_compared() -> None:
    page = lineage_page([DDPM, GAN, EDM], TRUTH, TERMS)
    for words in (
        "3 ways to draw", "3 published systems", "the same 2,880 pictures", "24 plain things at 16 px",
        "the same 60 seconds", "seeds 0 to 15.", "n = 64 pictures of each system, seeds 0 to 63;",
        "the 24 things in turn", "against 1,200 pictures", "2 CPU core(s)", "64 at a time", "more than 100 steps",
    ):  # fmt: skip
        assert words in page.replace("\n", " "), words
    assert "seeds 0 to 8." in lineage_page([DDPM], TRUTH, {**TERMS, "n": 9})
    assert "% are right: chance" not in page and "4.2% are right: chance" in lineage_page(
        [DDPM], TRUTH, {**TERMS, "luck": {"share": 0.0417}}
    )


def test_page_shows_each_system_or_why_it_failed_with_its_words_escaped() -> None:
    page = lineage_page([DDPM, EDM], TRUTH, TERMS)
    assert page.count('src="ddpm.png"') == 1 and 'src="edm.png"' not in page and 'src="truth.png"' in page
    assert "denoises &amp; draws" in page and "Failed: ZeroDivisionError: &lt;none&gt;" in page


def test_curve_of_a_loss_spans_the_frame_and_lets_the_first_tenth_leave_it() -> None:
    points = [[second, 50.0 if second == 0 else 10.0 - second] for second in range(10)]
    page = lineage_page([{**DDPM, "curves": {"network": points}}], TRUTH, TERMS)
    drawn = re.search(r'points="([^"]*)"', page)
    assert drawn is not None
    places = [tuple(map(float, place.split(","))) for place in drawn[1].split()]
    assert places[0] == (0.0, -1.6), "its start is a tenth above the frame at most"
    assert places[1] == (22.2, 4.0) and places[-1] == (200.0, 60.0)
    assert places[5] == (111.1, 32.0), "half-way between 9 and 1"
    assert "network: loss 50 → 1<" in page
    assert "gan: too short for a curve" in lineage_page([GAN], TRUTH, TERMS)
