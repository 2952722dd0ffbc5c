"""A linear probe: a logistic regression on what the judge's network sees, taught from true pictures.

    p(class | picture) = softmax(W standardised(features) + b),    loss = cross-entropy + decay/2 |W|^2

Alain and Bengio 2016, arXiv 1610.01644. The features are the maximum and the mean of the judge's last maps, the picture
itself, small, and how much fine detail there is at each place; so a probe can tell what the judge was not taught, such
as a skin tone. Its ceiling is measured on groups that it was not taught (cross-validation).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.judge.network import GROUNDS, Judge, composite_input

__all__ = ["Probe", "cross_validate", "probe_features"]

SMALL_PX, BATCH, STEPS = 8, 128, 60
DECAY = 1e-3


@torch.no_grad()
def probe_features(judge: Judge, pictures: Tensor) -> Tensor:
    """Return features (B, D) of pictures, premultiplied uint8 (B, 4, 64, 64)."""
    parts = []
    for some in torch.split(pictures, BATCH):
        levels = some.float() / 255
        views = [judge(composite_input(levels, torch.tensor([ground]))) for ground in GROUNDS]
        pooled = [pool for view in views for pool in (view.amax(dim=(2, 3)), view.mean(dim=(2, 3)))]
        small = F.adaptive_avg_pool2d(levels, SMALL_PX).flatten(1)
        gray = levels[:, :3].mean(dim=1, keepdim=True)
        detail = (gray - F.avg_pool2d(gray, 3, 1, 1, count_include_pad=False)).abs()
        parts.append(torch.cat([*pooled, small, F.adaptive_avg_pool2d(detail, SMALL_PX).flatten(1)], dim=1))
    return torch.cat(parts) if parts else torch.empty(0, 0)


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Args:
        classes: what it tells apart.
        mean: of each feature (D,).
        scale: what each is divided by (D,).
        weight: (classes, D).
        bias: (classes,).
    """

    classes: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Sequence[str], decay: float = DECAY) -> Probe:
        """Fit a probe; the same features and labels always give the same one.

        Args:
            features: (N, D).
            labels: the class of each.
            decay: of the weights.
        """
        classes = tuple(sorted(set(labels)))
        target = torch.tensor([classes.index(label) for label in labels])
        mean, scale = features.mean(dim=0), features.std(dim=0).clamp_min(1e-4)
        x = (features - mean) / scale
        weight = torch.zeros(len(classes), features.shape[1], requires_grad=True)
        bias = torch.zeros(len(classes), requires_grad=True)
        # Weighted, so that a rare class counts as much as a common one.
        share = torch.bincount(target, minlength=len(classes)).float()
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = F.cross_entropy(x @ weight.T + bias, target, weight=len(labels) / (len(classes) * share))
            loss = loss + decay / 2 * weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        return cls(classes, mean, scale, weight.detach(), bias.detach())

    def predict(self, features: Tensor) -> list[str]:
        """Return the most likely class of each of some features (N, D)."""
        if not len(features):
            return []
        logits = (features - self.mean) / self.scale @ self.weight.T + self.bias
        return [self.classes[k] for k in logits.argmax(dim=1).tolist()]


def cross_validate(features: Tensor, labels: Sequence[str], groups: Sequence[Hashable], folds: int = 4) -> list[str]:
    """Return what probes predict for each example that were not taught its group.

    Args:
        features: (N, D).
        labels: the class of each.
        groups: of each; whole groups are left out.
        folds: how many probes.
    """
    order = {group: number % folds for number, group in enumerate(dict.fromkeys(groups))}
    fold = torch.tensor([order[group] for group in groups])
    found = [""] * len(labels)
    for number in range(folds):
        inside, outside = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
        if not len(inside) or not len(outside):
            continue
        probe = Probe.fit(features[inside], [labels[k] for k in inside.tolist()])
        for k, predicted in zip(outside.tolist(), probe.predict(features[outside]), strict=True):
            found[k] = predicted
    return found
