"""Weights that are damaged or do not fit each other; `bad_pickles` adds those that are hostile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from published_weights import (
    FILES,
    clip_folder,
    kandinsky_prior_folder,
    karlo_folder,
    karlo_variation_folder,
    stable_diffusion_folder,
    stable_diffusion_xl_folder,
    stable_unclip_folder,
    write_json,
    write_network,
)
from safetensors.torch import load_file, save_file

Case = tuple[Callable[[Path], Path], str]
CASES: dict[str, Case] = {}


def case(name: str, says: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Register what writes something bad and returns its path, and what the refusal should say."""

    def register(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
        CASES[name] = (write, says)
        return write

    return register


def edited(folder: Path, file: str, change: Callable[[Any], Any]) -> Path:
    """Change a JSON file of a folder, and return the folder."""
    value = json.loads((folder / file).read_text("utf-8"))
    changed = change(value)
    write_json(folder / file, value if changed is None else changed)
    return folder


def rebuilt(folder: Path, part: str, **changes: Any) -> Path:
    """Replace a part by one of another configuration that is whole in itself, and return the folder."""
    kind = json.loads((folder / "model_index.json").read_text("utf-8"))[part][1]
    config = json.loads((folder / part / "config.json").read_text("utf-8"))
    write_network(folder / part, config | {"_class_name": kind} | changes)
    return folder


def header_file(path: Path, header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> Path:
    """Write a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


# Safetensors -----------------------------------------------------------------------------------------------------

HEADERS: dict[str, tuple[dict[str, Any] | bytes, bytes, int | None, str]] = {
    "a header of 100 GB": ({}, b"", 10**11, "header claims 100000000000 bytes"),
    "a header longer than the file": ({}, b"", 4096, "truncated"),
    "a header that is no JSON": (b"{nonsense", b"", None, "not valid JSON"),
    "a tensor twice": (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4), None, "'a' appears twice",
    ),
    "tensors that overlap": ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12), None, "overlaps"),
    "a tensor past the end": ({"a": entry([4], 0, 16)}, bytes(8), None, "truncated"),
    "a shape of another size": ({"a": entry([3], 0, 8)}, bytes(8), None, "shape says otherwise"),
    "bytes after the last tensor": ({"a": entry([1], 0, 4)}, bytes(9), None, "5 bytes follow"),
    "an unknown dtype": (
        {"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, bytes(1), None, "F8_E4M3",
    ),
    "a name of two lines": ({"a\nerror: b": entry([1], 0, 4)}, bytes(4), None, "cannot be the name"),
}  # fmt: skip
for _name, (_header, _data, _length, _says) in HEADERS.items():

    def _write(
        root: Path, header: dict[str, Any] | bytes = _header, data: bytes = _data, length: int | None = _length
    ) -> Path:
        return header_file(root / "model.safetensors", header, data, length)

    CASES[f"safetensors: {_name}"] = (_write, _says)


@case("an empty file", "too short")
def _(root: Path) -> Path:
    (root / "model.safetensors").write_bytes(b"")
    return root / "model.safetensors"


@case("a picture instead of weights", "header claims")
def _(root: Path) -> Path:
    (root / "model.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return root / "model.safetensors"


@case("a path that is not there", "there is no file or folder")
def _(root: Path) -> Path:
    return root / "nowhere"


@case("a file of no layout", "no published layout")
def _(root: Path) -> Path:
    save_file({"some.weight": torch.zeros(2)}, root / "model.safetensors")
    return root / "model.safetensors"


@case("one network of a folder", "give the folder")
def _(root: Path) -> Path:
    save_file({"conv_in.weight": torch.zeros(2)}, root / "unet.safetensors")
    return root / "unet.safetensors"


@case("a CLIP with tensors of other shapes", "other shapes")
def _(root: Path) -> Path:
    save_file({**FILES["clip"], "text_projection": torch.zeros(3)}, root / "clip.safetensors")
    return root / "clip.safetensors"


# Folders ---------------------------------------------------------------------------------------------------------


@case("an empty folder", "holds no weights")
def _(root: Path) -> Path:
    return root


@case("an index of an unknown pipeline", "known are UnCLIPPipeline")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "model_index.json", lambda i: i.update(_class_name="FluxPipeline")
    )


@case("an index without a pipeline", "names the pipeline 'None'")
def _(root: Path) -> Path:
    return edited(stable_diffusion_folder(root / "m"), "model_index.json", lambda i: i.pop("_class_name") and None)


@case("an index that is a list", "should hold a JSON object")
def _(root: Path) -> Path:
    return edited(stable_diffusion_folder(root / "m"), "model_index.json", lambda i: [])


@case("a part of a library of its own", "which is not imported")
def _(root: Path) -> Path:
    return edited(karlo_folder(root / "m"), "model_index.json", lambda i: i.update(prior=["os", "system"]))


@case("a part of another class", "needs a AutoencoderKL there")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "model_index.json", lambda i: i.update(vae=["diffusers", "VQModel"])
    )


@case("a part that is not a pair", "should be .library, class.")
def _(root: Path) -> Path:
    return edited(stable_diffusion_folder(root / "m"), "model_index.json", lambda i: i.update(vae=["diffusers"]))


@case("a part that the index leaves out", "names no prior")
def _(root: Path) -> Path:
    return edited(karlo_folder(root / "m"), "model_index.json", lambda i: i.pop("prior") and None)


@case("a scheduler that the index leaves out", "names no super_res_scheduler")
def _(root: Path) -> Path:
    return edited(karlo_folder(root / "m"), "model_index.json", lambda i: i.pop("super_res_scheduler") and None)


@case("a scheduler without its file", "scheduler_config.json is missing")
def _(root: Path) -> Path:
    (stable_diffusion_folder(root / "m") / "scheduler" / "scheduler_config.json").unlink()
    return root / "m"


@case("a tokenizer without its merges", "holds no tokenizer")
def _(root: Path) -> Path:
    (stable_diffusion_folder(root / "m") / "tokenizer" / "merges.txt").unlink()
    return root / "m"


@case("a part without a folder", "config.json is missing")
def _(root: Path) -> Path:
    shutil.rmtree(stable_diffusion_folder(root / "m") / "vae")
    return root / "m"


@case("a part without weights", "holds no weights")
def _(root: Path) -> Path:
    (stable_diffusion_folder(root / "m") / "text_encoder" / "model.safetensors").unlink()
    return root / "m"


@case("a part whose weights are truncated", "truncated")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return root / "m"


@case("two parts swapped", "missing")
def _(root: Path) -> Path:
    folder = karlo_variation_folder(root / "m")
    text, image = (folder / part / "model.safetensors" for part in ("text_encoder", "image_encoder"))
    text.rename(root / "text"), image.rename(text), (root / "text").rename(image)
    return folder


@case("a configuration without a key", "missing hidden_size")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.pop("hidden_size") and None
    )


@case("a configuration with text for a number", "hidden_size is '12'")
def _(root: Path) -> Path:
    return edited(stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.update(hidden_size="12"))


@case("a configuration of another width", "misshapen")
def _(root: Path) -> Path:
    return edited(stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.update(vocab_size=60))


@case("a configuration of more layers", "missing")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.update(num_hidden_layers=2)
    )


@case("a configuration of a billion layers", "far larger network")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.update(num_hidden_layers=10**9)
    )


@case("a configuration of an unknown activation", "hidden_act")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "text_encoder/config.json", lambda c: c.update(hidden_act="tanh")
    )


@case("a configuration with NaN", "not valid JSON")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "vae" / "config.json"
    path.write_text('{"scaling_factor": NaN}', "utf-8")
    return root / "m"


@case("a text encoder with a tensor too many", "1 unused: novel.weight")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "text_encoder" / "model.safetensors"
    save_file({**load_file(path), "novel.weight": torch.zeros(2)}, path)
    return root / "m"


@case("a prior for another CLIP", "prior.embedding_dim is 16, text_encoder.projection_dim 12")
def _(root: Path) -> Path:
    return rebuilt(karlo_folder(root / "m"), "prior", embedding_dim=16)


@case("a Kandinsky prior for another CLIP", "prior.embedding_dim is 20")
def _(root: Path) -> Path:
    return rebuilt(kandinsky_prior_folder(root / "m"), "prior", embedding_dim=20)


@case("a U-Net for another text encoder", "unet.cross_attention_dim is 16, text_encoder.hidden_size 12")
def _(root: Path) -> Path:
    return rebuilt(stable_diffusion_folder(root / "m"), "unet", cross_attention_dim=16)


@case("a U-Net for one text encoder beside two", "text_encoder.hidden_size . text_encoder_2.hidden_size 24")
def _(root: Path) -> Path:
    return rebuilt(stable_diffusion_xl_folder(root / "m"), "unet", cross_attention_dim=12)


@case("a normalizer for another CLIP", "unet.projection_class_embeddings_input_dim is 24, 2 x image_normalizer")
def _(root: Path) -> Path:
    return rebuilt(stable_unclip_folder(root / "m"), "image_normalizer", embedding_dim=16)


@case("a text projection for another decoder", "text_proj.time_embed_dim is 64, 4 x decoder.block_out_channels.0. 128")
def _(root: Path) -> Path:
    return rebuilt(karlo_folder(root / "m"), "text_proj", time_embed_dim=64)


@case("a U-Net without the key that must agree", "cross_attention_dim")
def _(root: Path) -> Path:
    return edited(
        stable_diffusion_folder(root / "m"), "unet/config.json", lambda c: c.pop("cross_attention_dim") and None
    )


@case("a config.json of another network alone", "only a CLIPModel is read")
def _(root: Path) -> Path:
    write_json(root / "config.json", {"model_type": "bert", "architectures": ["BertModel"]})
    return root


@case("a CLIP folder whose vision tower is another's", "misshapen")
def _(root: Path) -> Path:
    return edited(clip_folder(root / "m"), "config.json", lambda c: c["vision_config"].update(patch_size=2))


@case("an open_clip folder without its towers", "needs vision_cfg and text_cfg")
def _(root: Path) -> Path:
    write_json(root / "open_clip_config.json", {"model_cfg": {"embed_dim": 12}})
    return root


@case("an open_clip folder with a U-Net", "describes a CLIP")
def _(root: Path) -> Path:
    write_json(root / "open_clip_config.json", {"vision_cfg": {}, "text_cfg": {}})
    save_file(FILES["guided-diffusion"], root / "open_clip_model.safetensors")
    return root


@case("original files of two systems", "no system together")
def _(root: Path) -> Path:
    save_file(FILES["karlo-prior"], root / "prior.safetensors")
    save_file(FILES["guided-diffusion"], root / "decoder.safetensors")
    return root


# Links and shards ------------------------------------------------------------------------------------------------


@case("a link out of the folder", "is a link out of")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "text_encoder" / "model.safetensors"
    path.rename(root / "elsewhere.safetensors")
    path.symlink_to(root / "elsewhere.safetensors")
    return root / "m"


@case("a configuration that is a link out of the folder", "is a link out of")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "unet" / "config.json"
    path.unlink()
    path.symlink_to("/proc/self/environ")
    return root / "m"


@case("a part that is a link out of the folder", "is a link out of")
def _(root: Path) -> Path:
    path = stable_diffusion_folder(root / "m") / "vae"
    path.rename(root / "vae")
    path.symlink_to(root / "vae")
    return root / "m"


def sharded(root: Path, weight_map: Callable[[dict[str, str]], Any]) -> Path:
    """A folder whose text encoder is in two shards, with a changed map."""
    folder = stable_diffusion_folder(root / "m") / "text_encoder"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {}
    for number, share in enumerate((names[::2], names[1::2]), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in share}, folder / shard)
        files |= dict.fromkeys(share, shard)
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map(files)})
    return root / "m"


@case("a shard outside of the folder", "name of a .safetensors file beside the index")
def _(root: Path) -> Path:
    return sharded(root, lambda files: files | {next(iter(files)): "../../../secret.safetensors"})


@case("a shard that is missing", "model-3.safetensors is missing")
def _(root: Path) -> Path:
    return sharded(root, lambda files: files | {"novel.weight": "model-3.safetensors"})


@case("a shard that is truncated", "truncated")
def _(root: Path) -> Path:
    folder = sharded(root, lambda files: files)
    shard = folder / "text_encoder" / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    return folder


@case("an index that leaves a tensor out", "does not list it there")
def _(root: Path) -> Path:
    return sharded(root, lambda files: dict(list(files.items())[1:]))


@case("an index with a tensor too many", "lists it there")
def _(root: Path) -> Path:
    return sharded(root, lambda files: files | {"novel.weight": "model-00001-of-00002.safetensors"})


@case("an index whose files are numbers", "name of a .safetensors file")
def _(root: Path) -> Path:
    return sharded(root, lambda files: dict.fromkeys(files, 1))


@case("an index without a map", "needs a weight_map")
def _(root: Path) -> Path:
    return sharded(root, lambda files: [])
