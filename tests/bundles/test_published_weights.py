"""Published weights are read as they are, whatever holds them, and become safetensors without being unpickled."""

from __future__ import annotations

import json
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import bad_pickles  # noqa: F401  # it adds its cases
import numpy as np
import pytest
import torch
from bad_weights import CASES
from packaging.version import Version
from published_weights import FILES, stable_diffusion_folder
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sumi import SumiError
from sumi.bundles.published import import_weights, inspect, open_weights
from sumi.bundles.published.torch_file import TorchFile
from sumi.bundles.tensors import TensorFile

ODD = {
    "plain": torch.randn(3, 4, dtype=torch.float64),
    "half": torch.randn(5).half(),
    "brain": torch.randn(2, 3).bfloat16(),
    "transposed": torch.randn(4, 3).t(),
    "slice": torch.arange(24.0).view(4, 6)[1:3, ::2],
    "scalar": torch.tensor(7),
    "truth": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "parameter": nn.Parameter(torch.randn(3)).detach(),
}


def assert_same(weights: TorchFile | TensorFile, tensors: dict[str, Tensor]) -> None:
    assert weights.entries.keys() == tensors.keys()
    for name, expected in tensors.items():
        read = weights.tensor(name)
        assert read.dtype == expected.dtype and torch.equal(read, expected), name


@pytest.mark.parametrize("new", [True, False])
def test_torch_file_gives_the_tensors_that_were_saved(new: bool, tmp_path: Path) -> None:
    made = {"state_dict": OrderedDict(ODD), "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(made, tmp_path / "a.ckpt", _use_new_zipfile_serialization=new)
    file = TorchFile(tmp_path / "a.ckpt")
    assert file.section == "state_dict" and list(file.sections) == ["state_dict", "optimizer"]
    assert_same(file, ODD)


def test_torch_file_of_parameters_and_of_a_state_dict_with_metadata(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(network.state_dict(), tmp_path / "state.pt")
    assert_same(TorchFile(tmp_path / "state.pt"), dict(network.state_dict()))
    torch.save(dict(network.named_parameters()), tmp_path / "parameters.pt")
    assert_same(TorchFile(tmp_path / "parameters.pt"), {k: v.detach() for k, v in network.named_parameters()})


def test_torch_file_takes_the_section_that_is_asked_for(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}}, tmp_path / "a.pth")
    assert TorchFile(tmp_path / "a.pth").tensor("a").item() == 0
    assert TorchFile(tmp_path / "a.pth", "ema").tensor("a").item() == 1
    with pytest.raises(SumiError, match="sections with tensors: 'model', 'ema'"):
        TorchFile(tmp_path / "a.pth", "average")


def test_torch_file_reads_past_what_trainers_leave_beside_the_weights(tmp_path: Path) -> None:
    network = nn.BatchNorm1d(2)
    beside = {
        "version": Version("1.14.2"), "loss": np.float64(3.0), "counts": Counter("ab"), "seen": {1, 2},
        "steps": defaultdict(int, a=1), "dtype": torch.float16, "size": torch.Size([1]), "device": torch.device("cpu"),
        "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
    }  # fmt: skip
    torch.save({"state_dict": network.state_dict(), **beside}, tmp_path / "last.ckpt")
    assert_same(TorchFile(tmp_path / "last.ckpt"), dict(network.state_dict()))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torch_file_reads_a_torchscript_archive(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 2)), str(tmp_path / "clip.pt"))
    file = TorchFile(tmp_path / "clip.pt")
    assert file.kind == "TorchScript archive"
    assert {"0.weight", "0.bias", "1.running_mean"} <= file.entries.keys()
    assert torch.equal(file.tensor("0.weight"), network[0].weight)


def test_torch_file_reads_the_pickled_modules_of_the_discrete_vae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Conv2d(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.randn(8, 3, 7, 7)), nn.Parameter(torch.zeros(8))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.device = torch.device("cpu")
            inside = nn.Sequential(OrderedDict(relu=nn.ReLU(), pool=nn.MaxPool2d(2), conv=Conv2d()))
            self.blocks = nn.Sequential(OrderedDict(input=Conv2d(), output=inside))

    for kind, where in ((Conv2d, "dall_e.utils"), (Encoder, "dall_e.encoder")):
        kind.__module__, kind.__qualname__ = where, kind.__name__
        module = types.ModuleType(where)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, where, module)
    monkeypatch.setitem(sys.modules, "dall_e", types.ModuleType("dall_e"))
    encoder = Encoder()
    torch.save(encoder, tmp_path / "encoder.pkl")
    monkeypatch.undo()
    assert_same(TorchFile(tmp_path / "encoder.pkl"), dict(encoder.state_dict()))
    (part,) = inspect(tmp_path / "encoder.pkl").parts
    assert part.facts == {"network": "encoder", "codes": 8}


def test_torch_file_maps_its_tensors_and_keeps_writes_private(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    file = TorchFile(tmp_path / "a.pt")
    file.tensor("a").add_(1)
    assert file.tensor("a").sum() == 4 and (tmp_path / "a.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["karlo-prior", "clip", "stable-diffusion-1"])
def test_import_file_writes_safetensors_with_equal_tensors(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": FILES[name]}, tmp_path / "model.ckpt")
    made = import_weights(tmp_path / "model.ckpt", tmp_path / "model.safetensors")
    loaded = load_file(made)
    assert loaded.keys() == FILES[name].keys()
    assert all(torch.equal(loaded[key], value) for key, value in FILES[name].items())
    assert inspect(made).layout == name
    with safe_open(made, "pt") as file:
        assert file.metadata()["source"] == "model.ckpt" and file.metadata()["section"] == "state_dict"


def test_import_file_keeps_every_dtype_stride_and_shape(tmp_path: Path) -> None:
    torch.save(ODD, tmp_path / "odd.pt")
    made = import_weights(tmp_path / "odd.pt", tmp_path / "odd.safetensors")
    assert_same(TensorFile(made), ODD)
    loaded = load_file(made)
    assert all(torch.equal(loaded[name], value) for name, value in ODD.items())


def test_import_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    torch.save(ODD, tmp_path / "odd.pt")
    one, two = (import_weights(tmp_path / "odd.pt", tmp_path / f"{n}.safetensors") for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_import_folder_converts_its_pickles_and_keeps_the_rest(tmp_path: Path) -> None:
    folder = stable_diffusion_folder(tmp_path / "old")
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    torch.save(tensors, path.with_name("pytorch_model.bin"))
    path.unlink()
    (folder / "script.py").write_text("raise SystemExit\n", "utf-8")
    before = inspect(folder)
    made = import_weights(folder, tmp_path / "new")
    after = inspect(made)
    assert after.layout == before.layout and after.parameters == before.parameters
    assert not list(made.rglob("*.bin")) and not list(made.rglob("*.py"))
    loaded = load_file(made / "text_encoder" / "pytorch_model.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_import_refuses_to_overwrite(tmp_path: Path) -> None:
    torch.save(ODD, tmp_path / "odd.pt")
    (tmp_path / "there.safetensors").write_bytes(b"")
    with pytest.raises(SumiError, match="exists already"):
        import_weights(tmp_path / "odd.pt", tmp_path / "there.safetensors")
    with pytest.raises(SumiError, match=r"should end in \.safetensors"):
        import_weights(tmp_path / "odd.pt", tmp_path / "there.bin")
    with pytest.raises(SumiError, match="there is no file or folder"):
        import_weights(tmp_path / "nowhere", tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "name", ["a checkpoint that runs a command", "a pickle in a folder's part that runs a command"]
)
def test_import_hostile_weights_executes_nothing_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    source = CASES[name][0](tmp_path)
    target = tmp_path / ("made" if source.is_dir() else "made.safetensors")
    before = {path for path in tmp_path.rglob("*") if path != target}
    with pytest.raises(SumiError, match=r"the global '(posix|nt).system'"):
        import_weights(source, target)
    assert {*tmp_path.rglob("*")} == before and not (tmp_path / "executed").exists()


def test_open_weights_follows_a_link_into_the_blobs_of_a_hub_cache(tmp_path: Path) -> None:
    repo = tmp_path / "models--owner--name"
    (repo / "blobs").mkdir(parents=True)
    folder = stable_diffusion_folder(repo / "snapshots" / ("0" * 40))
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        blob = repo / "blobs" / f"{number:040}"
        path.rename(blob)
        path.symlink_to(blob)
    assert inspect(folder).layout == "stable-diffusion"
    outside = tmp_path / "models--owner--other" / "blobs" / "file"
    outside.parent.mkdir(parents=True)
    (folder / "unet" / "config.json").unlink()
    (folder / "unet" / "config.json").symlink_to(outside)
    with pytest.raises(SumiError, match="is a link out of"):
        inspect(folder)


def test_open_weights_decides_by_the_first_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "really_safe.ckpt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "really_torch.safetensors")
    assert isinstance(open_weights(tmp_path / "really_safe.ckpt"), TensorFile)
    assert isinstance(open_weights(tmp_path / "really_torch.safetensors"), TorchFile)


@pytest.mark.parametrize("length", [0x80, 0x8002])
def test_open_weights_tells_a_header_length_from_a_pickle(length: int, tmp_path: Path) -> None:
    """The length of a safetensors header may begin as a pickle does."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode().ljust(length)
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + text + b"\x07")
    assert open_weights(tmp_path / "model.safetensors").tensor("a").item() == 7
