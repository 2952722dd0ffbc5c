"""What lets a large network fit: its state in shards, its activations computed twice, and its blocks compiled.

The blocks are the members of the network's outermost `nn.ModuleList`s. Sharding is FSDP2, ZeRO's third stage
(Rajbhandari et al. 2020, arXiv 1910.02054): each process keeps 1/n of every weight, gradient, moment and average, and
gathers the weights of a block while it computes the block. Recomputing activations trades a second forward pass for
memory (Chen et al. 2016, arXiv 1604.06174).

FSDP and DTensor are imported only where a network is sharded, because that takes a second.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of a network that have parameters."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from (block for block in child if any(True for _ in block.parameters()))
        else:
            yield from blocks(child)


def shard(network: nn.Module, device: torch.device, num_processes: int) -> None:
    """Shard a network in place over all processes, each block by itself and the rest together.

    Scalars stay whole, because FSDP2 cannot shard them. Public methods gather the weights as `forward` does.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (num_processes,))
    scalars = {parameter for parameter in network.parameters() if not parameter.ndim}
    for part in (*blocks(network), network):
        fully_shard(part, mesh=mesh, ignored_params=scalars)
    for module in network.modules():
        if isinstance(module, FSDPModule) and device.type == "cpu":
            module.set_force_sum_reduction_for_comms(True)  # gloo has no mean
    for name, _ in inspect.getmembers(type(network), inspect.isfunction):
        if name[0] != "_" and name != "forward" and not hasattr(nn.Module, name) and not hasattr(FSDPModule, name):
            register_fsdp_forward_method(network, name)


def synchronise_gradients(network: nn.Module, when: bool) -> None:
    """Let the next backward pass of a sharded network average gradients over processes, or only add them up here."""
    if is_sharded(network):
        network.set_requires_gradient_sync(when)


def recompute_activations(network: nn.Module) -> None:
    """Keep the input of each block alone for the backward pass, which computes the block again."""
    for block in blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def compile_blocks(network: nn.Module) -> None:
    """Compile each block, or the network where it has none, when it first computes."""
    for part in list(blocks(network)) or [network]:
        part.compile()


def is_sharded(network: nn.Module) -> TypeGuard[FSDPModule]:
    """Return whether `shard` was applied."""
    return hasattr(network, "set_requires_gradient_sync")


def is_shard(tensor: Tensor) -> TypeGuard[DTensor]:
    """Return whether a tensor is this process's shard of a whole one (a DTensor)."""
    return hasattr(tensor, "full_tensor")


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, which shares its memory."""
    return tensor.to_local() if is_shard(tensor) else tensor


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if is_shard(tensor) else tensor


def gather(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Return whole tensors, gathered one after another; all processes call this, and those that keep none get {}."""
    whole = {}
    for name, tensor in tensors.items():
        full = _full(tensor)
        if keep:
            whole[name] = full.cpu() if full is not tensor else tensor
    return whole


def distribute(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor as a shard where `like` is one; no process asks another."""
    if not is_shard(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def clip_gradients(parameters: list[nn.Parameter], bound: float) -> Tensor:
    """Scale the gradients so that their global norm is at most `bound`, and return the norm before."""
    if not any(map(is_shard, parameters)):
        return nn.utils.clip_grad_norm_(parameters, bound)
    groups = [[p for p in parameters if is_shard(p) == sharded] for sharded in (True, False)]
    norms = [nn.utils.get_total_norm([p.grad for p in group if p.grad is not None]) for group in groups]
    norm = torch.hypot(*(_full(norm) for norm in norms))
    for group in groups:
        nn.utils.clip_grads_with_norm_(group, bound, norm)
    return norm
