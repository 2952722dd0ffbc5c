"""Two players and one number: each gets the gradient of its own loss, and the penalty is what it is said to be."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.nn import GAN
from sumi.pipelines.steps import drive_to_end
from sumi.systems import Examples
from sumi.systems.gan import GAN_2014, GANObjective, adversarial_losses
from sumi.systems.pipeline import SampleRequest
from sumi.training import TrainConfig, train

from .toys import coins, taught


class Pair(nn.Module):
    """A game over plain vectors."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, noise_width: int) -> None:
        super().__init__()
        self.generator, self.discriminator, self.noise_width = generator, discriminator, noise_width


def small() -> tuple[GAN, Tensor, Tensor]:
    """A game whose every weight matters, true pictures and noises."""
    torch.manual_seed(0)
    model = GAN(4, 8, 6, [8, 16]).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)
    rng = coins()
    return model, torch.randn(5, 4, 8, 8, generator=rng).double(), torch.randn(5, 6, generator=rng).double()


def test_one_backward_gives_each_player_the_gradient_of_its_own_loss() -> None:
    model, x, z = small()
    adversarial_losses(model, x, z, 3.0)["loss"].backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    generator, judge = model.generator, model.discriminator
    fake = generator(z)
    own = F.softplus(judge(fake) - judge(x)).mean()
    for data in (x, fake):
        data = data.detach().requires_grad_()
        (slope,) = torch.autograd.grad(judge(data).sum(), data, create_graph=True)
        own = own + 1.5 * slope.square().sum((1, 2, 3)).mean()
    expected = {f"discriminator.{n}": g for n, g in gradients(own, judge).items()}
    against = F.softplus(judge(x) - judge(generator(z))).mean()
    expected |= {f"generator.{n}": g for n, g in gradients(against, generator).items()}

    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=1e-9)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """The gradient of a loss in a module's weights; zeros where it does not reach."""
    names, weights = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def test_the_penalty_of_a_linear_judge_is_its_squared_length() -> None:
    """D(x) = w x + b has slope w everywhere, so R1 = R2 = |w|^2; and where D cannot tell, both lose log 2."""
    line = nn.Linear(3, 1)
    nn.init.zeros_(line.weight)
    model, x, z = Pair(nn.Linear(2, 3), nn.Sequential(line, nn.Flatten(0)), 2), torch.randn(4, 3), torch.randn(4, 2)
    level = adversarial_losses(model, x, z, 1.0)
    assert level["loss_d"].item() == pytest.approx(math.log(2)) and level["penalty"] == 0
    assert level["loss_g"].item() == pytest.approx(math.log(2))
    line.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))
    told = adversarial_losses(model, x, z, 0.5)
    assert told["penalty"].item() == pytest.approx(2 * 5.25)
    assert told["loss"].item() == pytest.approx(told["loss_d"].item() + 0.25 * 10.5, rel=1e-5)


def test_it_learns_where_a_cloud_lies_and_how_wide_it_is() -> None:
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1), nn.Flatten(0))
    cloud = torch.tensor([1.5, -0.5]) + torch.tensor([0.5, 1.0]) * torch.randn(4096, 2, generator=coins())
    model = Pair(nn.Linear(2, 2), judge, 2)
    lesson = GANObjective("toy", model, cloud, gamma=0.3)
    taught(lesson, 500, batch_size=128, lr=1e-2)
    generator: Any = model.generator
    with torch.no_grad():
        made = generator(torch.randn(4096, 2, generator=coins(1)))
    torch.testing.assert_close(made.mean(0), cloud.mean(0), atol=0.15, rtol=0)
    torch.testing.assert_close(made.std(0), cloud.std(0), atol=0.2, rtol=0)


def test_sixteen_bits_change_nothing_in_the_game(tmp_path: Path) -> None:
    """The slope of a slope is taken in float32 whatever the plan says."""
    pictures = torch.randint(0, 256, (6, 4, 8, 8), generator=coins()).to(torch.uint8)
    ends = []
    for precision in ("bf16", "fp32"):
        torch.manual_seed(0)
        lesson = GAN_2014.objective("network", Examples(pictures), {})
        list(train(lesson, TrainConfig(3, 4, warmup_steps=1, precision=precision), tmp_path / precision))
        ends.append(torch.cat([weight.flatten() for weight in lesson.model.parameters()]))
    assert torch.equal(*ends)


def test_stopping_and_going_on_changes_nothing(tmp_path: Path) -> None:
    pictures, ends = torch.randint(0, 256, (6, 4, 8, 8), generator=coins()).to(torch.uint8), []
    for sessions in (1, 2):
        for _ in range(sessions):
            torch.manual_seed(0)
            lesson, asked = GAN_2014.objective("network", Examples(pictures), {}), itertools.count(sessions)
            plan = TrainConfig(2, 4, warmup_steps=1)
            list(train(lesson, plan, tmp_path / str(sessions), stop=lambda: next(asked) >= 2))  # noqa: B023
        ends.append(torch.cat([weight.flatten() for weight in lesson.model.parameters()]))
    assert torch.equal(*ends)


def test_a_seed_is_a_picture_and_the_size_is_the_one_that_was_taught() -> None:
    model, _, _ = small()
    parts = {"network": model.float().eval()}
    drawn = drive_to_end(GAN_2014.pipeline(parts).sample(SampleRequest([3, 4, 5], 8)))
    assert drawn.shape == (3, 4, 8, 8) and drawn.dtype == torch.uint8 and len(drawn.unique(dim=0)) == 3
    assert torch.equal(drive_to_end(GAN_2014.pipeline(parts).sample(SampleRequest([5], 8)))[0], drawn[2])
    with pytest.raises(SumiError, match="draws 8 px, not 16"):
        drive_to_end(GAN_2014.pipeline(parts).sample(SampleRequest([1], 16)))


@pytest.mark.parametrize(("size_px", "channels"), [(8, [24, 48]), (12, [24, 48, 96]), (64, [24, 48, 96, 96, 96])])
def test_it_grows_with_its_pictures(size_px: int, channels: list[int]) -> None:
    lesson = GAN_2014.objective("network", Examples(torch.zeros(2, 4, size_px, size_px, dtype=torch.uint8)), {})
    assert isinstance(lesson.model, GAN) and lesson.model.config["channels"] == channels
    with pytest.raises(ValueError, match="cannot be halved 2 times"):
        GAN(4, 10, 8, [8, 8, 8])
