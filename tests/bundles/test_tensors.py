"""A weights file comes from anywhere: every malformed one is refused in one line, before anything is allocated."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from sumi import SumiError
from sumi.bundles.tensors import LARGEST_HEADER_BYTES, TensorFile, serialise, weight_hash


def written(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(shape: list[Any], begin: int, end: int, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "empty file": (None, b"", "too short"),
    "longer header than file": (None, (10**6).to_bytes(8, "little") + b"{}", "truncated"),
    "header bomb": (None, (LARGEST_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "header claims"),
    "not JSON": (b"{", b"", "not valid JSON"),
    "not UTF-8": (b'{"\xff": 1}', b"", "not valid JSON"),
    "nested a hundred thousand deep": (b"[" * 100_000, b"", "not valid JSON"),
    "a name twice": (b'{"a": 1, "a": 2}', b"", "'a' appears twice"),
    "not an object": ([], b"", "not a JSON object"),
    "no dtype": ({"a": {"shape": [], "data_offsets": [0, 4]}}, bytes(4), "needs a dtype"),
    "unknown dtype": ({"a": entry([1], 0, 4, "F8_E5M2")}, bytes(4), "F8_E5M2"),
    "dtype that is a list": ({"a": entry([1], 0, 4, ["F32"])}, bytes(4), "dtype"),
    "negative shape": ({"a": entry([-1], 0, 4)}, bytes(4), "malformed"),
    "true for a shape": ({"a": entry([True], 0, 4)}, bytes(4), "malformed"),
    "huge integer": (b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 4]}}', b"", "2^53"),
    "infinite number": (b'{"a": 1e999}', b"", "too large"),
    "NaN": (b'{"a": NaN}', b"", "NaN"),
    "shape of another size": ({"a": entry([2], 0, 4)}, bytes(4), "shape says otherwise"),
    "overlap": ({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, bytes(6), "b overlaps"),
    "gap": ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12), "b leaves a gap"),
    "past the end": ({"a": entry([4], 0, 16)}, bytes(8), "truncated: tensor a"),
    "trailing bytes": ({"a": entry([1], 0, 4)}, bytes(4) + b"PK\x03\x04", "4 bytes follow"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_malformed_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    header, data, says = HOSTILE[case]
    path = tmp_path / "model.safetensors"
    if header is None:
        path.write_bytes(data)
    else:
        written(path, header, data)
    with pytest.raises(SumiError) as caught:
        TensorFile(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_cut_at_any_length_is_refused(tmp_path: Path) -> None:
    whole = serialise(nn.Linear(3, 2))
    path = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SumiError):
            TensorFile(path)


def test_what_the_reference_library_writes_is_read_alike(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(2, 3).bfloat16(),
        "float": torch.randn(4),
        "whole": torch.arange(5),
        "scalar": torch.tensor(7.0),
        "nothing": torch.zeros(0, 3),
        "truth": torch.tensor([True, False, True]),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata={"format": "pt"})
    file = TensorFile(tmp_path / "a.safetensors")
    assert set(file.entries) == set(tensors)
    for name, tensor in tensors.items():
        read = file.tensor(name)
        assert read.dtype == tensor.dtype and torch.equal(read, tensor)


def test_parameters_are_kept_in_bfloat16_and_statistics_whole() -> None:
    norm = nn.BatchNorm1d(3)
    norm.running_mean = torch.tensor([1.00001, 2.0, 3.0])
    saved = load(serialise(norm))
    assert saved["weight"].dtype == torch.bfloat16
    assert torch.equal(saved["running_mean"], norm.running_mean)
    assert saved["num_batches_tracked"].dtype == torch.int64


def test_the_hash_names_the_weights_and_nothing_else() -> None:
    layer = nn.Conv2d(4, 4, 3)
    named = weight_hash(layer)
    assert named == hashlib.sha256(serialise(layer)).hexdigest()
    assert named == weight_hash(layer.to(memory_format=torch.channels_last)), "memory layout is not weight"  # type: ignore[call-overload]
    assert named == weight_hash(layer.bfloat16().float()), "rounding as the file does changes nothing"
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] += 1
    assert named != weight_hash(layer)
