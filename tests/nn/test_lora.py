"""LoRA: nothing changes at first, and a change that is attached is the same as one that is added to the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sumi.nn import LoRA, add_embeddings

NETWORKS = {"flat": nn.Sequential(nn.Linear(8, 6), nn.SiLU(), nn.Linear(6, 8)), "round": nn.Conv2d(4, 6, 3, padding=1)}
INPUTS = {"flat": torch.randn(5, 8), "round": torch.randn(2, 4, 7, 7)}


def lora(rank: int = 2, learned: bool = True) -> LoRA:
    torch.manual_seed(1)
    made = LoRA({**NETWORKS, "round": nn.Sequential(NETWORKS["round"])}, rank, alpha=3.0, words=torch.ones(2, 5))
    for layer in made.layers if learned else ():
        nn.init.normal_(layer.up)
    return made


def networks() -> dict[str, nn.Module]:
    return {"flat": NETWORKS["flat"], "round": nn.Sequential(NETWORKS["round"])}


def test_lora_that_learned_nothing_changes_nothing() -> None:
    fresh = lora(learned=False)
    for name, network in networks().items():
        with fresh.attach(networks()):
            assert torch.equal(network(INPUTS[name]), NETWORKS[name](INPUTS[name]))


@pytest.mark.parametrize("name", NETWORKS)
def test_lora_attached_equals_the_changed_weights(name: str) -> None:
    learned, plain = lora(), copy.deepcopy(networks()[name])
    before = plain(INPUTS[name])
    tensors = learned.named_tensors()
    for module, layer in plain.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            down, up = (tensors[f"{name}.{module}.lora_{role}.weight"] for role in "AB")
            layer.weight.data += 3.0 / 2 * (up.flatten(1) @ down.flatten(1)).view(layer.weight.shape)
    attached = networks()
    with learned.attach(attached), torch.no_grad():
        changed = attached[name](INPUTS[name])
    assert not torch.allclose(before, changed, atol=1e-2)
    assert torch.allclose(plain(INPUTS[name]), changed, atol=1e-4)
    assert torch.equal(attached[name](INPUTS[name]), before)  # detached again


def test_lora_leaves_narrow_layers_alone() -> None:
    assert [name for name in lora(rank=3).names if name.startswith("round")] == []
    assert lora(rank=3).names == ("flat.0", "flat.2")


def test_new_words_are_the_last_rows_of_an_embedding() -> None:
    words, learned = nn.Embedding(4, 5), lora()
    grown = add_embeddings(words, torch.zeros(2, 5))
    ids = torch.tensor([[0, 3, 4, 5]])
    with learned.attach({**networks()}, grown):
        read = grown(ids)
    assert torch.equal(read[0, :2], words.weight[[0, 3]])
    assert torch.equal(read[0, 2:], torch.ones(2, 5))
    assert torch.equal(grown(ids)[0, 2:], torch.zeros(2, 5))
