"""The MindSpore model zoo's Jasper `.ckpt` in and out, without MindSpore.

The file is one protobuf message: `Checkpoint {repeated Value value = 1}`, `Value {string tag = 1; TensorProto
tensor = 2}`, `TensorProto {repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3}`
(mindspore/ccsrc/utils/checkpoint.proto). A tensor of more than 512 MB is cut into values of the same tag.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jasper.bundle import Weights
from jasper.convert.checkpoint import (
    Checkpoint,
    Rule,
    from_shared,
    open_checkpoint,
    rename,
    to_shared,
    warn_of_front_end,
)
from jasper.convert.nvidia_yaml import NVIDIA_FIXED, read_or_infer
from jasper.convert.protobuf import field, fields
from jasper.convert.settings import is_citrinets
from jasper.errors import ModelError
from jasper.storage import atomic_file

_VALUE, _TAG, _TENSOR = 1, 1, 2
_DIMS, _TYPE, _CONTENT = 1, 2, 3
_TYPES = {"Float16": np.float16, "Float32": np.float32, "Float64": np.float64}

# What training adds: adam_m.network.encoder…, global_step, learning_rate
_RULES: tuple[Rule, ...] = (
    (r"^(adam_m|adam_v|moment1|moment2|moments|accum)\.", None),
    (r"^\w+$", None),
    # network.encoder.layers.0.conv.0.conv1.weight, of a training's wrapped network
    (r"^(?:\w+\.)+?(?=(?:en|de)coder\.layers\.)", ""),
    (r"\.conv1\.weight$", ".weight"),  # encoder.layers.0.conv.0.conv1.weight
    (r"\.batchnorm\.gamma$", ".weight"),  # encoder.layers.0.conv.1.batchnorm.gamma
    (r"\.batchnorm\.beta$", ".bias"),
    (r"\.batchnorm\.moving_mean$", ".running_mean"),
    (r"\.batchnorm\.moving_variance$", ".running_var"),
    (r"^decoder\.layers\.(?=weight$|bias$)", "decoder.layers.0."),  # decoder.layers.bias
)
# A norm's fields in the order in which MindSpore saves them.
_NORM_FIELDS = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "weight": "gamma",
    "bias": "beta",
}


def read(path: Path, config: Path | None, ema: bool) -> Checkpoint:
    """Read a `.ckpt`; without `config` (the zoo's YAML, or ours) the network is read from the shapes."""
    with open_checkpoint(path) as file:
        try:
            message = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            tensors = _read_tensors(message, str(path))
        except ValueError as error:
            raise ModelError(f"{path}: not a MindSpore checkpoint, or damaged: {error}") from None
    return from_shared(read_or_infer(config, tensors, str(path)), tensors, str(path))


def write(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a `.ckpt` with the zoo's names. It has Jasper alone: other networks raise ModelError."""
    blocks = checkpoint.config.network.blocks
    if any(block.separable or is_citrinets(block) for block in blocks):
        raise ModelError(f"{path}: the MindSpore model zoo has Jasper alone, no separable convolutions")
    warn_of_front_end(checkpoint.config.features, NVIDIA_FIXED, "The model zoo")
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for name, value in _their_names(to_shared(checkpoint)):
            dims = b"".join(field(_DIMS, size) for size in value.shape)
            content = np.ascontiguousarray(value, dtype="<f4").tobytes()
            tensor = dims + field(_TYPE, b"Float32") + field(_CONTENT, content)
            file.write(field(_VALUE, field(_TAG, name.encode()) + field(_TENSOR, tensor)))
    return path


def _read_tensors(message: memoryview, source: str) -> Weights:
    """Every kept tensor under its shared name, convolutions as (out, in, k). Raises ValueError."""
    values: dict[str, list[memoryview]] = {}
    for number, value in fields(message):
        if number != _VALUE or isinstance(value, int):
            raise ValueError(f"field {number} is none of its fields")
        parts = dict(fields(value))
        tag, tensor = parts.get(_TAG), parts.get(_TENSOR)
        if isinstance(tag, memoryview) and isinstance(tensor, memoryview):
            values.setdefault(bytes(tag).decode(), []).append(tensor)
    names = rename(list(values), _RULES, source)
    return {new: _tensor(values[name], name) for name, new in names.items()}


def _tensor(slices: list[memoryview], name: str) -> NDArray[np.float32]:
    """One tensor of its slices in order, each of which repeats the dimensions."""
    parts = [list(fields(tensor)) for tensor in slices]
    dims = [value for number, value in parts[0] if number == _DIMS and isinstance(value, int)]
    kind = next((bytes(v).decode() for n, v in parts[0] if n == _TYPE and not isinstance(v, int)), "none")
    contents = [v for part in parts for n, v in part if n == _CONTENT and not isinstance(v, int)]
    if kind not in _TYPES:
        raise ValueError(f"{name} has the type {kind}, not one of {', '.join(_TYPES)}")
    dtype = np.dtype(_TYPES[kind]).newbyteorder("<")
    wanted, found = math.prod(dims) * dtype.itemsize, sum(map(len, contents))
    if wanted != found:
        raise ValueError(f"{name} of dimensions {dims} needs {wanted:,} bytes and has {found:,}")
    array = np.frombuffer(b"".join(contents), dtype=dtype).astype(np.float32).reshape(dims)
    # A convolution over time is one over images of height 1 there.
    return array.squeeze(2) if len(dims) == 4 and dims[2] == 1 else array


def _their_names(shared: Weights) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The zoo's name of each weight and its value there, in MindSpore's order."""
    modules: dict[str, Weights] = {}
    for name, value in shared.items():
        module, _, last = name.rpartition(".")
        modules.setdefault(module, {})[last] = value
    for module, values in modules.items():
        if "running_mean" in values:
            for ours, theirs in _NORM_FIELDS.items():
                yield f"{module}.batchnorm.{theirs}", values[ours]
        elif module == "decoder.layers.0":
            yield "decoder.layers.weight", values["weight"][:, :, None]
            yield "decoder.layers.bias", values["bias"]
        else:
            yield f"{module}.conv1.weight", values["weight"][:, :, None]
