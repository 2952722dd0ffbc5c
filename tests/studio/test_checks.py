"""The tab Check says what is known of a file, and shows what the policy holds back."""

from __future__ import annotations

from pathlib import Path

from live_studio import Studio

from sumi.store import LOCAL


def test_check_tab_says_what_is_known_of_a_drawn_and_of_a_changed_file(studio: Studio, tmp_path: Path) -> None:
    page, store = studio.page, studio.live.store
    job = studio.finished(studio.draw("a red fox", n="1"))
    (row,) = store.jobs.pictures(LOCAL, job.id)
    data = store.gallery.read(row)
    (tmp_path / "fox.png").write_bytes(data)
    (tmp_path / "changed.png").write_bytes(data + b"text")
    page.get_by_role("tab", name="Check").click()
    page.wait_for_selector("#checks .zone")
    page.set_input_files("#checks input[type=file]", tmp_path / "fox.png")
    page.wait_for_selector("#checks dl")
    text = page.inner_text("#checks dl")
    for part in ("unchanged since", "trainedAlgorithmicMedia", "tiny", "a red fox, seed 7, as signed", "0 of 256 bits"):
        assert part in text
    page.set_input_files("#checks input[type=file]", tmp_path / "changed.png")
    page.wait_for_selector("#checks h3:has-text('changed.png')")
    assert "Changed after it was signed" in page.inner_text("#checks dl")
    assert studio.faults == []


def test_check_tab_lets_a_person_decide(studio: Studio) -> None:
    page, store = studio.page, studio.live.store
    review = store.reviews.submit(
        LOCAL, "prompt", "a" * 64, [{"code": "tubers", "category": "food"}], "a <b>potato</b>"
    )
    page.get_by_role("tab", name="Check").click()
    page.wait_for_selector("#checks .review")
    assert page.inner_text("#checks .review blockquote") == "a <b>potato</b>"
    page.get_by_role("button", name="Approve").click()
    page.wait_for_selector("#checks .empty")
    found = store.reviews.get(review.id)
    assert found is not None and found.status == "approved" and studio.faults == []
