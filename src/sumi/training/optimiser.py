"""The optimiser: AdamW, or Muon for the matrices and AdamW for the other weights.

Weight decay applies to matrices and kernels, and not to norms, biases and embeddings. Muon (Jordan et al. 2024)
replaces a matrix's momentum by its nearest orthogonal matrix,

    W <- W - lr · 0.2·sqrt(max(rows, columns)) · orthogonal(momentum),

with the scale of Liu et al. 2025 (arXiv 2502.16982), with which both use AdamW's learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.training.config import TrainConfig
from sumi.training.large_networks import distribute


class Optimiser:
    """The optimisers of a run as one, with a state that is a flat dict of named tensors.

    Raises:
        SumiError: the model has no parameter to train.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise SumiError("training: the model has no parameter to train")
        matrices = _decayed_parameters(model) & set(self.parameters)
        orthogonal = {n for n in matrices if config.optimiser == "muon" and self.parameters[n].ndim == 2}
        plain = [p for name, p in self.parameters.items() if name not in matrices]
        pulled = [self.parameters[n] for n in self.parameters if n in matrices - orthogonal]
        groups = [
            {"params": plain, "weight_decay": 0.0},
            {"params": pulled, "weight_decay": config.weight_decay},
        ]
        self.optimisers: list[torch.optim.Optimizer] = []
        if plain or pulled:
            self.optimisers.append(
                torch.optim.AdamW([g for g in groups if g["params"]], config.lr, config.betas, fused=True)
            )
        if orthogonal:
            hidden = [self.parameters[n] for n in self.parameters if n in orthogonal]
            decay = config.weight_decay
            self.optimisers.append(torch.optim.Muon(hidden, config.lr, decay, adjust_lr_fn="match_rms_adamw"))

    def step(self, lr: float) -> None:
        """Apply the gradients with the learning rate `lr`."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr
            optimiser.step()

    def clear(self) -> None:
        """Delete the gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return the moments by name: {"exp_avg/<parameter>": tensor, …}."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.parameters.items()}
        return {
            f"{key}/{names[parameter]}": value
            for optimiser in self.optimisers
            for parameter, moments in optimiser.state.items()
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
        owners = {
            p: optimiser for optimiser in self.optimisers for group in optimiser.param_groups for p in group["params"]
        }
        for full_name, value in state.items():
            key, _, name = full_name.partition("/")
            parameter = self.parameters.get((old_names or {}).get(name, name))
            if parameter is None or (value.ndim and value.shape != parameter.shape):
                raise SumiError(f"checkpoint: optimiser state {full_name!r} does not fit the model")
            # The fused optimisers walk memory in order, so a moment needs the strides of its parameter.
            place = torch.empty_like(parameter if value.ndim else value, device=parameter.device)
            moment = place.detach().copy_(distribute(value, place))
            owners[parameter].state[parameter][key] = moment


def _decayed_parameters(model: nn.Module) -> set[str]:
    """Return the names of the parameters with weight decay: matrices and kernels named "…weight"."""
    return {
        f"{path}.{leaf}" if path else leaf
        for path, module in model.named_modules()
        for leaf, parameter in module.named_parameters(recurse=False)
        if leaf.endswith("weight") and parameter.ndim >= 2 and not isinstance(module, nn.Embedding)
    }
