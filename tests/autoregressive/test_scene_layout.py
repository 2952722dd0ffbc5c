"""Arrangements as tokens: said and read back, never ungrammatical, and the same for a seed alone as in a batch."""

from __future__ import annotations

import pytest
import torch

from sumi.autoregressive import END, FIRST_NUMBER, SYMBOLS, LayoutBox, LayoutItem, SceneLayout, sample_layouts
from sumi.autoregressive.scene_layout import BINS, GROUND, THING, allowed_next, mask_logits
from sumi.nn import EncodedCaption, LayoutPlannerNetwork

CONTEXT, WORDS, LENGTH = 6, 9, 24
APPLES = SceneLayout(
    (
        LayoutItem((3, 5), (LayoutBox(0.1, 0.2, 0.3), LayoutBox(0.9, 0.2, 0.3))),
        LayoutItem((7,), (LayoutBox(0.5, 1.0, 0.0),)),
    )
)


def near(one: LayoutBox, other: LayoutBox) -> bool:
    return all(abs(a - b) <= 0.5 / BINS + 1e-9 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("ground", [None, (0.0, 0.5, 1.0)])
def test_scene_layout_decode_of_its_tokens_is_within_half_a_bin(ground: tuple[float, float, float] | None) -> None:
    said = SceneLayout(APPLES.items, ground)
    read = SceneLayout.decode(said.encode())
    assert [item.words for item in read.items] == [item.words for item in said.items]
    for item, other in zip(read.items, said.items, strict=True):
        assert all(map(near, item.spots, other.spots)) and len(item.spots) == len(other.spots)
    assert (read.ground is None) == (ground is None)
    assert ground is None or near(LayoutBox(*read.ground or ()), LayoutBox(*ground))


def test_scene_layout_decode_of_cut_off_tokens_ends_with_the_last_whole_box() -> None:
    tokens = APPLES.encode()
    for length in range(len(tokens)):
        cut = SceneLayout.decode(tokens[:length])
        spots = [spot for item in cut.items for spot in item.spots]
        assert len(spots) <= 3 and all(item.spots and item.words for item in cut.items)
    assert SceneLayout.decode([]) == SceneLayout(())
    assert SceneLayout.decode([END, *tokens]) == SceneLayout(()), "nothing is read after the end"


def test_allowed_next_after_every_prefix_is_the_grammar() -> None:
    tokens = SceneLayout(APPLES.items, (0.1, 0.2, 0.3)).encode()
    for place, token in enumerate(tokens):
        signs, words, numbers = allowed_next(tokens[:place])
        kinds = token in signs, words and token >= SYMBOLS, numbers and FIRST_NUMBER <= token < SYMBOLS
        assert sum(kinds) == 1, (place, token)
    assert allowed_next([]) == ((GROUND, THING), False, False)
    assert allowed_next(tokens) == ((END,), False, False)


@pytest.fixture(scope="module")
def network() -> LayoutPlannerNetwork:
    torch.manual_seed(0)
    return LayoutPlannerNetwork(WORDS, SYMBOLS, CONTEXT, 4, LENGTH, 16, 1, 2).eval()


def captions(count: int) -> EncodedCaption:
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(0, WORDS, (count, CONTEXT), generator=rng)
    return EncodedCaption(ids, torch.randn(count, CONTEXT, 4, generator=rng))


def dice(seeds: range) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_sample_layouts_with_an_untrained_network_gives_valid_layouts() -> None:
    rng, tokens = torch.Generator().manual_seed(3), torch.zeros(12, 0, dtype=torch.int64)
    sayable = torch.arange(WORDS).expand(12, -1) != 4
    for _ in range(LENGTH):
        logits = mask_logits(tokens, torch.randn(12, SYMBOLS + WORDS, generator=rng), sayable)
        tokens = torch.cat([tokens, logits.softmax(-1).multinomial(1, generator=rng)], dim=1)
    made = [SceneLayout.decode(row) for row in tokens.tolist()]
    assert any(one.items for one in made)
    for one in made:
        for item in one.items:
            assert item.words and all(0 <= word < WORDS and word != 4 for word in item.words)
            assert all(0 < value < 1 for spot in item.spots for value in spot)


def test_sample_layouts_with_a_seed_is_the_same_alone_and_in_a_batch(network: LayoutPlannerNetwork) -> None:
    told = captions(5)
    sayable = torch.ones(5, WORDS, dtype=torch.bool)
    together = sample_layouts(network, told, sayable, dice(range(5)))
    for row in range(5):
        alone = sample_layouts(
            network, EncodedCaption(*(slot[row : row + 1] for slot in told)), sayable[:1], dice(range(row, row + 1))
        )
        assert alone == [together[row]]


def test_layout_planner_with_its_cache_equals_the_whole_sequence_at_once(network: LayoutPlannerNetwork) -> None:
    told, tokens = captions(3), torch.randint(0, SYMBOLS + WORDS, (3, 7), generator=torch.Generator().manual_seed(2))
    at_once = network(tokens, told)
    logits, past = network.begin(told, tokens[:, :2])
    torch.testing.assert_close(logits, at_once[:, 2])
    for place in range(2, 7):
        logits, past = network.step(tokens[:, place], past)
        torch.testing.assert_close(logits, at_once[:, place + 1])


def test_layout_planner_logits_do_not_depend_on_later_tokens(network: LayoutPlannerNetwork) -> None:
    told, tokens = captions(2), torch.zeros(2, 6, dtype=torch.int64)
    other = tokens.clone()
    other[:, 4] = 3
    torch.testing.assert_close(network(tokens, told)[:, :5], network(other, told)[:, :5])
    with pytest.raises(ValueError, match="fewer than 24"):
        network(torch.zeros(2, LENGTH, dtype=torch.int64), told)
