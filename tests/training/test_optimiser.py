from __future__ import annotations

import pytest
import torch
from torch import nn

from sumi.errors import SumiError
from sumi.training.optimiser import Optimiser

from .toys import Painter, exact_config


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.places = nn.Parameter(torch.randn(3, 4))
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 6)
        self.image = nn.Conv2d(1, 2, 3)
        self.fixed = nn.Linear(4, 4).requires_grad_(False)


def decays(optimiser: Optimiser) -> dict[str, tuple[str, float]]:
    names = {id(p): name for name, p in optimiser.parameters.items()}
    return {
        names[id(p)]: (type(rule).__name__, group["weight_decay"])
        for rule in optimiser.optimisers
        for group in rule.param_groups
        for p in group["params"]
    }


def test_optimiser_weight_decay_applies_to_matrices_and_kernels_only() -> None:
    pulled = decays(Optimiser(Mixed(), exact_config(1, weight_decay=0.1)))
    assert {name for name, (_, decay) in pulled.items() if decay} == {"mix.weight", "image.weight"}
    assert {rule for rule, _ in pulled.values()} == {"AdamW"}
    assert not any(name.startswith("fixed") for name in pulled)
    assert len(pulled) == 8


def test_optimiser_muon_updates_matrices_and_adamw_the_rest() -> None:
    rules = decays(Optimiser(Mixed(), exact_config(1, optimiser="muon", weight_decay=0.1)))
    assert [name for name, (rule, _) in rules.items() if rule == "Muon"] == ["mix.weight"]
    assert rules["mix.weight"] == ("Muon", 0.1) and rules["image.weight"] == ("AdamW", 0.1)


def test_optimiser_muon_update_has_equal_singular_values() -> None:
    """The update's singular values are near equal, and its root mean square near .2 lr, as AdamW's is."""
    model, lr = nn.Linear(32, 16, bias=False), 0.5
    before = model.weight.detach().clone()
    optimiser = Optimiser(model, exact_config(1, optimiser="muon", weight_decay=0.0))
    model.weight.grad = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    optimiser.step(lr)
    update = before - model.weight.detach()
    values = torch.linalg.svdvals(update)
    assert values.max() / values.min() < 2
    assert update.square().mean().sqrt().item() == pytest.approx(0.2 * lr, rel=0.25)


def test_optimiser_with_channels_last_weights_equals_contiguous() -> None:
    """The fused rule walks memory: wrong, and silent, should a gradient not lie as its parameter does."""
    torch.manual_seed(0)
    model = Painter().to(memory_format=torch.channels_last)
    twins = [nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format)) for p in model.parameters()]
    fused = Optimiser(model, exact_config(1, weight_decay=0.0))
    plain = torch.optim.AdamW(twins, 0.01, (0.9, 0.99), weight_decay=0.0, foreach=False)
    for _ in range(5):
        x = torch.randn(4, 4, 8, 8)  # not channels-last, and neither are the gradients inside
        model(x, torch.arange(4)).square().mean().backward()
        for parameter, twin in zip(model.parameters(), twins, strict=True):
            assert parameter.grad is not None
            twin.grad = parameter.grad.clone(memory_format=torch.contiguous_format)
        fused.step(0.01)
        fused.clear()
        plain.step()
    for parameter, twin in zip(model.parameters(), twins, strict=True):
        assert torch.allclose(parameter, twin, atol=1e-6)


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_optimiser_state_after_load_has_equal_values_and_strides(rule: str) -> None:
    config = exact_config(1, optimiser=rule)
    model = Mixed().to(memory_format=torch.channels_last)
    optimiser = Optimiser(model, config)
    (model.mix.weight.sum() + model.image.weight.sum() + model.norm.weight.sum()).backward()
    optimiser.step(0.1)
    state = optimiser.state()
    again = Optimiser(model, config)
    again.load({name: value.contiguous().clone() for name, value in state.items()})
    assert again.state().keys() == state.keys()  # a parameter without a gradient has no moments, before and after
    for name, value in again.state().items():
        assert torch.equal(value, state[name]) and value.stride() == state[name].stride()


def test_optimiser_load_of_another_models_state_raises() -> None:
    optimiser = Optimiser(nn.Linear(2, 2), exact_config(1))
    with pytest.raises(SumiError, match="'exp_avg/other'"):
        optimiser.load({"exp_avg/other": torch.zeros(2)})
    with pytest.raises(SumiError, match="'exp_avg/bias'"):
        optimiser.load({"exp_avg/bias": torch.zeros(3)})


def test_optimiser_of_a_model_without_parameters_raises() -> None:
    with pytest.raises(SumiError, match="no parameter to train"):
        Optimiser(nn.ReLU(), exact_config(1))
