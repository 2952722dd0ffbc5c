"""Which rule moves which weight: AdamW, or Muon for the matrices and AdamW for the rest.

Weight decay pulls only on matrices and kernels: a norm's scale, a bias or an embedding row has no excess
length to lose. Muon (Jordan et al. 2024) replaces a matrix's momentum by its nearest orthogonal matrix,

    W <- W - lr · 0.2·sqrt(max(rows, columns)) · orthogonal(momentum),

with the scale of Liu et al. 2025 (arXiv 2502.16982), under which AdamW's learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.training.config import TrainConfig


class Optimiser:
    """All the rules of a run behind one `step`, with a state that is a flat dict of named tensors."""

    def __init__(self, model: nn.Module, plan: TrainConfig) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise SumiError("training: the model has no parameter to train")
        matrices = _decaying(model) & set(self.parameters)
        orthogonal = {n for n in matrices if plan.optimiser == "muon" and self.parameters[n].ndim == 2}
        plain = [p for name, p in self.parameters.items() if name not in matrices]
        pulled = [self.parameters[n] for n in self.parameters if n in matrices - orthogonal]
        groups = [
            {"params": plain, "weight_decay": 0.0},
            {"params": pulled, "weight_decay": plan.weight_decay},
        ]
        self.rules: list[torch.optim.Optimizer] = []
        if plain or pulled:
            self.rules.append(torch.optim.AdamW([g for g in groups if g["params"]], plan.lr, plan.betas, fused=True))
        if orthogonal:
            hidden = [self.parameters[n] for n in self.parameters if n in orthogonal]
            decay = plan.weight_decay
            self.rules.append(torch.optim.Muon(hidden, plan.lr, decay, adjust_lr_fn="match_rms_adamw"))

    def step(self, lr: float) -> None:
        """Apply the gradients at learning rate `lr`."""
        for rule in self.rules:
            for group in rule.param_groups:
                group["lr"] = lr
            rule.step()

    def clear(self) -> None:
        """Forget the gradients."""
        for rule in self.rules:
            rule.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return the moments by name: {"exp_avg/<parameter>": tensor, …}."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.parameters.items()}
        return {
            f"{key}/{names[parameter]}": value
            for rule in self.rules
            for parameter, moments in rule.state.items()
            for key, value in moments.items()
        }

    def load(self, state: Mapping[str, Tensor], old_names: Mapping[str, str] | None = None) -> None:
        """Restore the moments that `state` returned.

        Args:
            state: the moments by name.
            old_names: old names of parameters, each to its current one.

        Raises:
            SumiError: a moment belongs to no parameter, or has another shape.
        """
        owners = {p: rule for rule in self.rules for group in rule.param_groups for p in group["params"]}
        for full_name, value in state.items():
            key, _, name = full_name.partition("/")
            parameter = self.parameters.get((old_names or {}).get(name, name))
            if parameter is None or (value.ndim and value.shape != parameter.shape):
                raise SumiError(f"checkpoint: optimiser state {full_name!r} does not fit the model")
            # The fused rules walk memory in order, so a moment must lie exactly as its parameter does.
            place = torch.empty_like(parameter if value.ndim else value, device=parameter.device)
            owners[parameter].state[parameter][key] = place.detach().copy_(value)


def _decaying(model: nn.Module) -> set[str]:
    """Name the parameters that weight decay pulls on: the matrices and kernels, by their name "…weight"."""
    return {
        f"{path}.{leaf}" if path else leaf
        for path, module in model.named_modules()
        for leaf, parameter in module.named_parameters(recurse=False)
        if leaf.endswith("weight") and parameter.ndim >= 2 and not isinstance(module, nn.Embedding)
    }
