"""Four ways of guiding, which agree where every model is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.diffusion import (
    DDIMSampler,
    Denoiser,
    Estimate,
    FlowSchedule,
    Schedule,
    VESchedule,
    VPSchedule,
    autoguide,
    classifier_guide,
    guide,
    pure_noise,
    sample,
    uniform_times,
)
from sumi.diffusion.schedule import per_sample
from sumi.errors import SumiError
from sumi.nn import MLP, Cond
from sumi.pipelines.steps import drive_to_end
from sumi.systems import Examples
from sumi.systems.diffusion_spec import one_hot
from sumi.systems.guidance import BY_CLASSIFIER, BY_WEAKER, FREE, NoisedClassifierObjective, log_caption, log_label
from sumi.systems.pipeline import SampleRequest

from .toys import coins, moments, taught

MEANS = torch.tensor([[-0.6, 0.2], [0.6, 0.2], [0.0, -0.7]])
SD = 0.2
LABELS = torch.tensor([0, 1, 2, 1])
TOLD = one_hot(LABELS, 3)


class Bells:
    """Three equally likely classes, each a bell; told nothing, their mixture. And the classifier that Bayes is."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def log_posterior(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule(t).like(x_t)
        square = (x_t[:, None] - alpha[..., None] * MEANS.to(x_t)).square().sum(2)
        return (-square / (2 * (alpha**2 * SD**2 + sigma**2))).log_softmax(1)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        alpha, sigma = self.schedule(t).like(x_t)
        gain = alpha * SD**2 / (alpha**2 * SD**2 + sigma**2)
        vector = torch.zeros(len(x_t), 3) if cond.vector is None else cond.vector
        known = vector.sum(1, keepdim=True) > 0
        centre = torch.where(known, vector.to(x_t), self.log_posterior(x_t, t).exp()) @ MEANS.to(x_t)
        return Estimate(centre + gain * (x_t - alpha * centre))

    def judge(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.vector is not None
        return (self.log_posterior(x_t, t) * cond.vector).sum(1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    "schedule", [VPSchedule(), VESchedule(0.01, 10.0), FlowSchedule()], ids=lambda s: type(s).__name__
)
def test_an_exact_classifier_guides_as_classifier_free_does(schedule: Schedule, scale: float) -> None:
    """Bayes: grad log p(y | x_t) is the told score less the untold one; and scale 1 is being told."""
    bells, null = Bells(schedule), TOLD.null()
    x_t, t = torch.randn(4, 2, generator=coins(), dtype=torch.float64), torch.tensor([0.1, 0.4, 0.6, 0.9]).double()

    def untold(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        return bells(x_t, t, null)

    pulled = classifier_guide(untold, bells.judge, schedule, scale)(x_t, t, TOLD).mean
    free = guide(bells, null, scale)(x_t, t, TOLD).mean
    torch.testing.assert_close(pulled, free, atol=1e-5, rtol=1e-5)
    if scale == 1.0:
        torch.testing.assert_close(pulled, bells(x_t, t, TOLD).mean, atol=1e-5, rtol=1e-5)


def test_a_classifier_may_push_a_network_that_was_told_already() -> None:
    """Told and pulled by scale is classifier-free guidance by 1 + scale, as Ho and Salimans write it."""
    schedule = VPSchedule()
    bells, x_t, t = Bells(schedule), torch.randn(4, 2, generator=coins()).double(), torch.full((4,), 0.5).double()
    pulled = classifier_guide(bells, bells.judge, schedule, 1.5)(x_t, t, TOLD).mean
    torch.testing.assert_close(pulled, guide(bells, TOLD.null(), 2.5)(x_t, t, TOLD).mean, atol=1e-5, rtol=1e-5)


def test_scale_and_interval_act_on_each_sample() -> None:
    bells, x_t, t = Bells(VPSchedule()), torch.randn(4, 2, generator=coins()), torch.tensor([0.1, 0.5, 0.5, 0.9])
    scale = torch.tensor([2.0, 2.0, 0.0, 2.0])
    mean = classifier_guide(bells, bells.judge, VPSchedule(), scale, (0.2, 0.8))(x_t, t, TOLD).mean
    moved = (mean - bells(x_t, t, TOLD).mean).abs().amax(1) > 0
    assert moved.tolist() == [False, True, False, False]


def test_where_nothing_is_guided_nobody_is_asked() -> None:
    def never(x_t: Tensor, t: Tensor, cond: Any) -> Tensor:
        raise AssertionError("asked")

    bells, x_t, t = Bells(VPSchedule()), torch.zeros(4, 2), torch.full((4,), 0.9)
    for denoise in (
        classifier_guide(bells, never, VPSchedule(), 0.0),
        classifier_guide(bells, never, VPSchedule(), 3.0, (0.0, 0.5)),
        autoguide(bells, never, 1.0),  # type: ignore[arg-type]
        autoguide(bells, never, 3.0, (0.0, 0.5)),  # type: ignore[arg-type]
    ):
        assert torch.equal(denoise(x_t, t, TOLD).mean, bells(x_t, t, TOLD).mean)


def test_a_weaker_self_is_overtaken() -> None:
    """Bells again: scores are -x / v, so guiding by w away from a wider bell narrows: 1/v = w/v_1 + (1 - w)/v_0."""
    schedule, w = VESchedule(0.01, 10.0), 2.0
    x_t, t = torch.tensor([[0.7], [-1.0]]).double(), torch.tensor([0.4, 0.6]).double()
    sigma2 = per_sample(schedule(t).sigma, x_t) ** 2

    def bell(sd: float) -> Denoiser[Any]:
        return lambda x_t, t, cond, /: Estimate(sd**2 / (sd**2 + sigma2) * x_t)

    guided = autoguide(bell(0.5), bell(0.8), w)(x_t, t, None).mean
    precision = w / (0.25 + sigma2) + (1 - w) / (0.64 + sigma2)
    torch.testing.assert_close(guided, x_t - sigma2 * precision * x_t)


def test_a_noised_classifier_learns_what_bayes_knows() -> None:
    """And by its gradient an untold model draws the class asked for."""
    torch.manual_seed(0)
    schedule, tower = VPSchedule(), MLP(2, 3, width=48, depth=2)
    labels = torch.randint(3, (3000,), generator=coins())
    x = MEANS[labels] + SD * torch.randn(3000, 2, generator=coins(1))
    known = F.one_hot(labels, 3).float()
    taught(NoisedClassifierObjective("toy", tower, schedule, x, known), 300, lr=5e-3)
    bells = Bells(schedule)
    for time in (0.05, 0.4, 0.95):
        t = torch.full((3000,), time)
        x_t = schedule(t).add_noise(x, torch.randn(3000, 2, generator=coins(2)))
        with torch.no_grad():
            said = tower(x_t, t, Cond()).softmax(1)
        assert (said - bells.log_posterior(x_t, t).exp()).abs().mean() < 0.05

    asked = one_hot(torch.full((500,), 2), 3)
    denoise = classifier_guide(lambda x_t, t, cond, /: bells(x_t, t, cond.null()), log_label(tower), schedule, 1.0)
    noise = pure_noise(schedule, torch.empty(500, 2), coins(3))
    made = sample(DDIMSampler(schedule, 1.0), denoise, noise, uniform_times(40), asked, coins(4))
    nearest = torch.cdist(made, MEANS).argmin(1)
    assert (nearest == 2).float().mean() > 0.9
    assert moments(made[:, 1])[0] == pytest.approx(-0.7, abs=0.1)


def test_a_noised_clip_pulls_towards_a_caption() -> None:
    """Captions are unit vectors; a tower learns from pairs alone to see them through noise, and then guides."""
    torch.manual_seed(0)
    schedule, tower = VPSchedule(), MLP(2, 4, width=48, depth=2)
    captions = torch.linalg.qr(torch.randn(4, 3, generator=coins()))[0].T
    labels = torch.randint(3, (2000,), generator=coins(1))
    x = MEANS[labels] + SD * torch.randn(2000, 2, generator=coins(2))
    lesson = NoisedClassifierObjective("toy", tower, schedule, x, captions[labels], captions=True)
    taught(lesson, 200, batch_size=64, lr=5e-3)
    t = torch.full((2000,), 0.05)
    with torch.no_grad():
        read = (F.normalize(tower(x, t, Cond()), dim=1) @ captions.T).argmax(1)
    assert (read == labels).float().mean() > 0.95

    bells = Bells(schedule)
    denoise = classifier_guide(
        lambda x_t, t, cond, /: bells(x_t, t, Cond()), log_caption(tower, lesson.sharpness), schedule, 1.0, (0.0, 0.9)
    )
    noise = pure_noise(schedule, torch.empty(300, 2), coins(3))
    made = sample(
        DDIMSampler(schedule, 1.0), denoise, noise, uniform_times(40), Cond(captions[1:2].expand(300, 4)), coins(4)
    )
    assert (torch.cdist(made, MEANS).argmin(1) == 1).float().mean() > 0.8


def test_each_method_knows_its_networks() -> None:
    pictures = torch.zeros(6, 4, 8, 8, dtype=torch.uint8)
    labelled = Examples(pictures, labels=torch.arange(6) % 3, num_labels=3)
    assert (FREE.stages, BY_CLASSIFIER.stages) == (("network",), ("network", "classifier"))
    sizes = [
        sum(p.numel() for p in BY_WEAKER.objective(stage, labelled, {}).model.parameters())
        for stage in BY_WEAKER.stages
    ]
    assert sizes[1] < sizes[0]
    with pytest.raises(SumiError, match="no labels"):
        FREE.objective("network", Examples(pictures), {})
    with pytest.raises(SumiError, match="one label a seed"):
        drive_to_end(FREE.pipeline({"network": nn.Identity()}).sample(SampleRequest([1, 2], 8, labels=[0])))
