"""A table from published tensors to ours is checked at both ends before anything is copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sumi import SumiError
from sumi.bundles.published import Move, load_mapped, open_weights
from sumi.bundles.published.mapping import as_linear, as_row, head_rows, identity, rows, then, transposed


def network() -> nn.Module:
    return nn.ModuleDict({"to_q": nn.Linear(4, 6), "to_v": nn.Linear(4, 6)})


TABLE = [
    Move(f"{name}.{kind}", (f"attn.qkv.{kind}",), rows(index, 3))
    for index, name in ((0, "to_q"), (2, "to_v"))
    for kind in ("weight", "bias")
]


def saved(path: Path, **tensors: Tensor) -> Path:
    save_file({name.replace("__", "."): value for name, value in tensors.items()}, path / "model.safetensors")
    return path / "model.safetensors"


def test_load_mapped_splits_a_packed_projection(tmp_path: Path) -> None:
    weight, bias, made = torch.randn(18, 4), torch.randn(18), network()
    path = saved(tmp_path, attn__qkv__weight=weight, attn__qkv__bias=bias, ema__w=torch.zeros(1))
    load_mapped(made, open_weights(path), TABLE, ignored=("ema.*",))
    assert torch.equal(made["to_q"].weight, weight[:6]) and torch.equal(made["to_v"].bias, bias[12:])


def test_load_mapped_shares_the_mapped_file_where_nothing_changes(tmp_path: Path) -> None:
    made = nn.Linear(4, 3)
    weights = open_weights(saved(tmp_path, weight=torch.randn(3, 4), bias=torch.randn(3)))
    load_mapped(made, weights, identity(made.state_dict()))
    assert made.weight.data_ptr() == weights.tensor("weight").data_ptr()


def test_load_mapped_converts_to_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    made = nn.BatchNorm1d(3)
    path = saved(tmp_path, **{name: value.clone() for name, value in made.state_dict().items()})
    load_mapped(made, open_weights(path), identity(made.state_dict()), dtype=torch.bfloat16)
    assert made.weight.dtype == torch.bfloat16 and made.num_batches_tracked.dtype == torch.int64


def test_load_mapped_keeps_the_order_of_channels_that_the_network_has(tmp_path: Path) -> None:
    made = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    path = saved(tmp_path, weight=torch.randn(4, 3, 3, 3), bias=torch.randn(4))
    load_mapped(made, open_weights(path), identity(made.state_dict()))
    assert made.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made.weight, open_weights(path).tensor("weight"))


def test_load_mapped_names_every_fault_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, attn__qkv__weight=torch.randn(18, 5), novel=torch.zeros(1))
    with pytest.raises(SumiError) as refused:
        load_mapped(network(), open_weights(path), TABLE)
    message = str(refused.value)
    assert "1 missing: attn.qkv.bias" in message and "1 unused: novel" in message
    assert "2 misshapen: attn.qkv.weight (6x5 instead of 6x4)" in message and "\n" not in message


def test_load_mapped_bounds_the_list_of_faults(tmp_path: Path) -> None:
    made = nn.ModuleList(nn.Linear(2, 2) for _ in range(50))
    path = saved(tmp_path, other=torch.zeros(1))
    with pytest.raises(SumiError, match=r"100 missing: .* and 92 more; 1 unused: other"):
        load_mapped(made, open_weights(path), identity(made.state_dict()))


def test_load_mapped_finds_what_the_table_leaves_out_and_adds(tmp_path: Path) -> None:
    path = saved(tmp_path, weight=torch.randn(3, 4))
    table = [*identity(["weight"]), Move("other", ("weight",))]
    with pytest.raises(SumiError, match=r"1 missing: bias \(ours\); 1 unused: other \(ours\)"):
        load_mapped(nn.Linear(4, 3), open_weights(path), table)


def test_load_mapped_refuses_integers_for_real_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path, weight=torch.zeros(3, 4, dtype=torch.int32), bias=torch.zeros(3))
    with pytest.raises(SumiError, match=r"1 misshapen: weight .torch.int32 instead of torch.float32"):
        load_mapped(nn.Linear(4, 3), open_weights(path), identity(["weight", "bias"]))


def test_load_mapped_says_which_tensor_a_transform_cannot_take(tmp_path: Path) -> None:
    path = saved(tmp_path, attn__qkv__weight=torch.randn(17, 4), attn__qkv__bias=torch.randn(18))
    with pytest.raises(SumiError, match=r"misshapen: attn.qkv.weight \(17x4 cannot become 6x4\)"):
        load_mapped(network(), open_weights(path), TABLE)


def test_transforms_undo_the_packings_of_published_layouts() -> None:
    heads, width = 3, 2
    q, k, v = (torch.randn(heads * width, 5) for _ in range(3))
    first, interleaved = torch.cat((q, k, v)), torch.cat([x.view(heads, width, 5) for x in (q, k, v)], 1).flatten(0, 1)
    for index, expected in enumerate((q, k, v)):
        assert torch.equal(rows(index, 3)(first), expected)
        assert torch.equal(head_rows(index, 3, width)(interleaved), expected)
        assert torch.equal(then(as_linear, head_rows(index, 3, width))(interleaved[..., None]), expected)
    assert torch.equal(as_linear(q[:, :, None, None]), q)
    assert torch.equal(transposed(q), q.T) and torch.equal(as_row(q[0]), q[:1])
    with pytest.raises(ValueError, match="more than a linear layer"):
        as_linear(torch.zeros(2, 2, 3, 3))
