"""Where the tensors of a `torch.save` file lie, found without unpickling anything.

    file -> {"kind": ..., "tensors": [[section, name, dtype, shape, stride, begin], ...]}  or  {"error": "..."}

A pickle is a program for a stack machine, and unpickling runs it. This module interprets the few instructions that
tensors need and builds inert values: a global is a name on the list below and is never imported, a call is a rule of
this file, an object is a dict. Any other global or instruction ends the reading by its name.

`torch_file.py` runs this file as a program of its own, which imports neither torch nor sumi and bounds its own memory
and time, so that a hostile file can exhaust neither.

Read: zip archives of `torch.save`, TorchScript archives, the format before PyTorch 1.6, pickled modules.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickletools
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

MOST_MEMORY_BYTES: Final = 2**30
MOST_SECONDS: Final = 60
LARGEST_PICKLE_BYTES: Final = 64 * 2**20
MOST_VALUES: Final = 4_000_000
DEEPEST: Final = 50
LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C

STORAGES: Final = {
    "torch.DoubleStorage": ("F64", 8),
    "torch.FloatStorage": ("F32", 4),
    "torch.HalfStorage": ("F16", 2),
    "torch.BFloat16Storage": ("BF16", 2),
    "torch.LongStorage": ("I64", 8),
    "torch.IntStorage": ("I32", 4),
    "torch.ShortStorage": ("I16", 2),
    "torch.CharStorage": ("I8", 1),
    "torch.ByteStorage": ("U8", 1),
    "torch.BoolStorage": ("BOOL", 1),
}
"""The storage classes, each with the name of its dtype in safetensors and its bytes an element."""

OPAQUE: Final = frozenset(
    {
        # what training scripts leave beside the weights
        "builtins.set", "builtins.int", "builtins.long", "builtins.float", "builtins.bool", "builtins.str",
        "builtins.list", "builtins.tuple", "_codecs.encode", "collections.Counter", "numpy.dtype",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
        "torch.Size", "torch.device", "torch.float16", "torch.float32", "torch.bfloat16",
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "packaging.version.Version", "packaging.version._Version",
        "packaging._structures.InfinityType", "packaging._structures.NegativeInfinityType",
        "pytorch_warmup.base.LinearWarmup", "torch.optim.adam.Adam", "torch.optim.adamw.AdamW",
        # the modules of OpenAI's discrete VAE, which were pickled whole
        "dall_e.encoder.Encoder", "dall_e.encoder.EncoderBlock", "dall_e.decoder.Decoder",
        "dall_e.decoder.DecoderBlock", "dall_e.utils.Conv2d", "torch.nn.modules.container.Sequential",
        "torch.nn.modules.activation.ReLU", "torch.nn.modules.pooling.MaxPool2d",
        "torch.nn.modules.upsampling.Upsample", "torch.nn.modules.linear.Identity",
    }
)  # fmt: skip
"""Globals that may be named, called and instantiated, because here that does nothing."""

TENSOR_CALLS: Final = frozenset({"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"})
CALLS: Final = TENSOR_CALLS | {
    "torch._utils._rebuild_parameter", "collections.OrderedDict", "collections.defaultdict", "builtins.dict",
}  # fmt: skip
SCRIPT: Final = ("__torch__.", "torch.jit._pickle.")
"""The classes and list builders of TorchScript archives."""


class RefusedError(Exception):
    """The file holds what weights have no need of, or is damaged."""


@dataclass(frozen=True)
class Global:
    """A global that the pickle names; it is never imported."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A block of elements of one dtype, by its key in the file."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as the pickle describes it: a strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class Record:
    """An object as the pickle describes it: the name of its class, and its attributes."""

    kind: str
    state: Any = field(default_factory=dict)


def read_global(module: str, name: str) -> Global:
    """Return the global as an inert name; RefusedError unless it is on the list."""
    full = f"{'builtins' if module == '__builtin__' else module}.{name}"
    if full in STORAGES or full in OPAQUE or full in CALLS or full.startswith(SCRIPT):
        return Global(full)
    raise RefusedError(f"its pickle names the global {full[:200]!r}, which weights have no need of")


def call(function: Any, arguments: Any) -> Any:
    """Return what a call stands for; nothing is called."""
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise RefusedError("its pickle calls something that is not a global")
    name = function.name
    if name in TENSOR_CALLS:
        return tensor_record(*arguments[:4])
    if name == "torch._utils._rebuild_parameter":
        return arguments[0]
    if name in CALLS:
        return {key: value for key, value in arguments[0]} if arguments and name != "collections.defaultdict" else {}
    if name in OPAQUE or name.startswith(SCRIPT):
        return Record(name)
    raise RefusedError(f"its pickle calls {name[:200]!r}, which weights have no need of")


def tensor_record(storage: Any, offset: Any, shape: Any, stride: Any) -> TensorRecord:
    """Check a tensor against its storage; RefusedError where it reaches outside, or claims more than it stores."""
    shape, stride = tuple(shape), tuple(stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride):
        raise RefusedError("a tensor of it has no storage, or a stride that does not fit its shape")
    if any(type(value) is not int or value < 0 for value in (offset, *shape, *stride)):
        raise RefusedError("a tensor of it has a negative size, stride or offset")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if math.prod(shape) > 0 and (last >= storage.count or math.prod(shape) > storage.count):
        raise RefusedError("a tensor of it reaches outside its storage")
    return TensorRecord(storage, offset, shape, stride)


def storage_record(identity: Any) -> Storage:
    """Return the storage that a persistent id names: ("storage", class, key, device, count[, None])."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise RefusedError("its pickle refers to something that is not a storage")
    kind, key, count = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or kind.name not in STORAGES or identity[5:] not in ((), (None,)):
        raise RefusedError("a storage of it is of no known kind")
    if not isinstance(key, str) or type(count) is not int or count < 0:
        raise RefusedError("a storage of it has no key or no size")
    return Storage(key, kind.name, count)


class Machine:
    """The stack machine; one memo, one stack, and one list of marks a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, file: BinaryIO) -> Any:
        """Interpret one pickle, from where the file stands to its STOP, and return its value."""
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if number > 8 * MOST_VALUES:
                raise RefusedError("its pickle has too many instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise RefusedError("its pickle has no end")

    def step(self, name: str, argument: Any) -> None:
        """Take one instruction."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "SHORT_BINSTRING" | "SHORT_BINBYTES" | "BINBYTES":
                stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_SET":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}[name]())
            case "MARK":
                self.marked.append(stack)
                self.stack = []
            case "TUPLE" | "APPENDS" | "SETITEMS" | "ADDITEMS":
                self.close(name)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND" | "SETITEM":
                count = 1 if name == "APPEND" else 2
                items = [stack.pop() for _ in range(count)][::-1]
                fill(stack[-1], items, name)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(read_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                of, module = stack.pop(), stack.pop()
                stack.append(read_global(str(module), str(of)))
            case "BINPERSID":
                storage = storage_record(stack.pop())
                if self.storages.setdefault(storage.key, storage) != storage:
                    raise RefusedError(f"its storage {storage.key[:40]!r} has two sizes or dtypes")
                stack.append(storage)
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(call(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Record):
                    stack[-1].state = state
            case _:
                raise RefusedError(f"its pickle uses the instruction {name}, which weights have no need of")

    def close(self, name: str) -> None:
        """Take what was pushed since the last mark into a tuple, list or dict."""
        items, self.stack = self.stack, self.marked.pop()
        if name == "TUPLE":
            self.stack.append(tuple(items))
        else:
            fill(self.stack[-1], items, name)


def fill(container: Any, items: list[Any], name: str) -> None:
    """Append items to a list, or set pairs of keys and values in a dict."""
    if name.startswith("SETITEM") and isinstance(container, dict):
        container.update(zip(items[::2], items[1::2], strict=True))
    elif not name.startswith("SETITEM") and isinstance(container, list):
        container.extend(items)
    elif not isinstance(container, Record):
        raise RefusedError(f"its pickle uses {name} on a {type(container).__name__}")


def tensors_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], TensorRecord]]:
    """Yield every tensor with the keys that lead to it; a module contributes parameters, buffers and modules."""
    budget = [MOST_VALUES]

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TensorRecord]]:
        budget[0] -= 1
        if budget[0] < 0 or len(path) > DEEPEST:
            raise RefusedError("its pickle nests too deeply or repeats itself too often")
        if isinstance(value, TensorRecord):
            yield path, value
        elif isinstance(value, Record):
            yield from walk_record(value, path)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(key, str | int):
                    yield from walk(item, (*path, str(key)))
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                yield from walk(item, (*path, str(number)))

    def walk_record(record: Record, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TensorRecord]]:
        state = record.state if isinstance(record.state, dict) else {}
        groups = [state[name] for name in ("_parameters", "_buffers", "_modules") if name in state]
        for group in groups or [state]:
            yield from walk(group, path)

    return walk(value, path)


def sections(root: Any) -> Iterator[tuple[str, str, TensorRecord]]:
    """Yield (section, name, tensor): a checkpoint keeps weights, averages and optimisers under keys of its root."""
    for path, tensor in tensors_in(root):
        nested = isinstance(root, dict) and len(path) > 1
        yield (path[0], ".".join(path[1:]), tensor) if nested else ("", ".".join(path), tensor)


# Containers: each gives the root value and where each storage begins. -----------------------------------------------


def read_zip(file: BinaryIO) -> tuple[str, Any, dict[str, int]]:
    """Read an archive of `torch.save` or TorchScript."""
    archive = zipfile.ZipFile(file)
    records = {info.filename: info for info in archive.infolist()}
    if len(records) != len(archive.infolist()):
        raise RefusedError("its zip directory names a file twice")
    pickles = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise RefusedError("it is a zip archive without a data.pkl, so not one of torch.save")
    prefix = pickles[0].removesuffix("data.pkl")
    order = records.get(f"{prefix}byteorder")
    if order is not None and record_bytes(file, order, 16) != b"little":
        raise RefusedError("its numbers are big-endian")
    machine = Machine()
    root = machine.run(io.BytesIO(record_bytes(file, records[pickles[0]], LARGEST_PICKLE_BYTES)))
    begins = {}
    for key, storage in machine.storages.items():
        info = records.get(f"{prefix}data/{key}")
        if info is None or info.file_size < storage.count * STORAGES[storage.kind][1]:
            raise RefusedError(f"its storage {key[:40]!r} is missing or too short")
        begins[key] = record_begin(file, info)
    kind = "TorchScript archive" if f"{prefix}constants.pkl" in records else "torch.save archive"
    return kind, root, begins


def record_begin(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a stored record begin; the local header must say what the directory says."""
    file.seek(info.header_offset)
    header = file.read(30)
    name_bytes, extra_bytes = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    if header[:4] != b"PK\x03\x04" or file.read(name_bytes) != info.filename.encode("utf-8"):
        raise RefusedError("its zip directory and its local headers disagree")
    begin = info.header_offset + 30 + name_bytes + extra_bytes
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise RefusedError("a record of it is compressed or encrypted, which torch.save does not do")
    if begin + info.file_size > os.fstat(file.fileno()).st_size:
        raise RefusedError("it is truncated: a record ends past the end of the file")
    return begin


def record_bytes(file: BinaryIO, info: zipfile.ZipInfo, most: int) -> bytes:
    """Return the bytes of a stored record of at most that size."""
    if info.file_size > most:
        raise RefusedError(f"{info.filename[-40:]!r} in it is over {most} bytes")
    file.seek(record_begin(file, info))
    return file.read(info.file_size)


def read_legacy(file: BinaryIO) -> tuple[str, Any, dict[str, int]]:
    """Read the format before PyTorch 1.6: magic, version, system, value and keys as pickles, then the storages."""
    if Machine().run(file) != LEGACY_MAGIC:
        raise RefusedError("it is a bare pickle and not a file of torch.save")
    Machine().run(file)
    system = Machine().run(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedError("its numbers are big-endian")
    machine = Machine()
    root, keys = machine.run(file), Machine().run(file)
    begins, size = {}, os.fstat(file.fileno()).st_size
    for key in keys:
        storage = machine.storages.get(key)
        if storage is None or int.from_bytes(file.read(8), "little") != storage.count:
            raise RefusedError("its list of storages does not fit its tensors")
        begins[key] = file.tell()
        file.seek(storage.count * STORAGES[storage.kind][1], os.SEEK_CUR)
    if file.tell() > size or begins.keys() != machine.storages.keys():
        raise RefusedError("it is truncated: a storage ends past the end of the file")
    return "torch.save file before PyTorch 1.6", root, begins


def index_of(path: Path) -> dict[str, Any]:
    """Return the index of a file; RefusedError for what is not one of `torch.save`, or holds more than tensors."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PK\x03\x04":
            kind, root, begins = read_zip(file)
        elif start[:1] == b"\x80":
            kind, root, begins = read_legacy(file)
        else:
            raise RefusedError("it is not a file of torch.save")
    tensors = [
        [section, name, STORAGES[tensor.storage.kind][0], tensor.shape, tensor.stride,
         begins[tensor.storage.key] + tensor.offset * STORAGES[tensor.storage.kind][1]]
        for section, name, tensor in sections(root)
    ]  # fmt: skip
    return {"kind": kind, "tensors": tensors}


def bound_resources() -> None:
    """Bound what this process may use; the kernel ends it where it passes a bound."""
    try:
        import resource
    except ImportError:  # Windows has no such module
        return
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES,) * 2)


def main() -> None:
    """Print the index of the file that the argument names, or why there is none."""
    bound_resources()
    try:
        answer = index_of(Path(sys.argv[1]))
    except RefusedError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "its pickle needs too much memory to read"}
    except Exception as error:  # a damaged pickle can fail in any way, and nothing it does reaches further than here
        answer = {"error": f"it is damaged: {type(error).__name__}: {str(error)[:100]!r}"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
