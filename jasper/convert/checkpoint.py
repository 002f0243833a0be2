"""A network's weights under our names, and under those that NVIDIA, NeMo and the model zoo have in common.

Each of these toolkits has its own prefixes, but all number the layers of a block as NVIDIA's Jasper does:
`encoder.layers.BLOCK.conv.PLACE.weight`. These are the shared names here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jasper.bundle import Weights, check_shapes
from jasper.config import CalibrationConfig, FeatureConfig, ModelConfig, NetworkConfig, expand
from jasper.errors import ModelError
from jasper.nn.weights import model_state, network_shape

# A pattern and what takes its place; None drops the key.
Rule = tuple[str, str | None]

_NORM_FIELDS = ("weight", "bias", "running_mean", "running_var")


class Checkpoint(NamedTuple):
    """A model in memory: its configuration, its weights under our names, and how they are calibrated."""

    config: ModelConfig
    weights: Weights
    calibration: CalibrationConfig = CalibrationConfig()  # foreign formats have none


def open_checkpoint(path: Path) -> BinaryIO:
    """Open a file to read. Raises ModelError when it cannot be opened."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None


def rename(names: Sequence[str], rules: Sequence[Rule], source: str) -> dict[str, str]:
    """Map each name to what the rules, applied one after the other, make of it; dropped ones are left out.

    Raises ModelError where two names become one.
    """
    renamed: dict[str, str] = {}
    origin: dict[str, str] = {}
    for name in names:
        new: str | None = name
        for pattern, replacement in rules:
            if new is not None and re.search(pattern, new):
                new = None if replacement is None else re.sub(pattern, replacement, new, count=1)
        if new is None:
            continue
        if new in origin:
            raise ModelError(f"{source}: {origin[new]} and {name} are the same weight")
        renamed[name], origin[new] = new, name
    return renamed


def from_shared(config: ModelConfig, shared: Weights, source: str) -> Checkpoint:
    """Take the weights of a network from those under shared names.

    Raises ModelError that names a weight which is missing, left over or has another shape.
    """
    rest = dict(shared)
    weights: Weights = {}
    for ours, theirs in parameter_names(config.network):
        if theirs not in rest:
            raise ModelError(f"{source}: {theirs} is missing (it becomes {ours})")
        weights[ours] = rest.pop(theirs)
    if rest:
        raise ModelError(f"{source}: {len(rest)} keys have no place, such as {next(iter(rest))}")
    # Shapes alone: what a hostile configuration asks for is not allocated.
    try:
        network = network_shape(config)
    except (RuntimeError, TypeError, OverflowError):  # PyTorch's, of sizes that 63 bits or 64 do not hold
        raise ModelError(f"{source}: its configuration asks for a network that no memory holds") from None
    shapes = {name: tuple(value.shape) for name, value in model_state(network).items()}
    names = parameter_names(config.network)
    check_shapes({theirs: shapes[ours] for ours, theirs in names}, shared, source)
    return Checkpoint(config, {name: np.asarray(value, dtype=np.float32) for name, value in weights.items()})


def warn_of_front_end(features: FeatureConfig, fixed: dict[str, Any], toolkit: str) -> None:
    """Warn where a model's front end is not the one that the other toolkit will run it with."""
    different = [
        f"{key} is {value} there, {getattr(features, key)} here"
        for key, value in fixed.items()
        if getattr(features, key) != value
    ]
    if different:
        warnings.warn(f"{toolkit}'s front end is another: {'; '.join(different)}", stacklevel=2)


def to_shared(checkpoint: Checkpoint) -> Weights:
    """The weights under shared names, in the order of the network."""
    names = parameter_names(checkpoint.config.network)
    return {theirs: checkpoint.weights[ours] for ours, theirs in names}


def parameter_names(network: NetworkConfig) -> Iterator[tuple[str, str]]:
    """Pairs of our name and the shared one, for every parameter and buffer of the network."""
    num_dense = 0
    for index, block in enumerate(expand(network.blocks)):
        ours, theirs = f"blocks.{index}", f"encoder.layers.{index}"
        place = 0
        for sub in range(block.repeat):
            if block.separable:  # depthwise, pointwise, norm, ReLU, dropout
                yield f"{ours}.convs.{sub}.0.weight", f"{theirs}.conv.{place}.weight"
                place += 1
            pointwise = ".1" if block.separable else ""  # convolution, norm, ReLU, dropout
            yield f"{ours}.convs.{sub}{pointwise}.weight", f"{theirs}.conv.{place}.weight"
            yield from _norm_names(f"{ours}.norms.{sub}", f"{theirs}.conv.{place + 1}")
            place += 4
        if block.squeeze:  # follows the last norm, in place of ReLU and dropout
            layer = f"{theirs}.conv.{place - 2}.fc"
            yield f"{ours}.excitation.squeeze.weight", f"{layer}.0.weight"
            yield f"{ours}.excitation.excite.weight", f"{layer}.2.weight"
        num_dense += block.residual == "dense"
        num_sources = {"none": 0, "plain": 1, "dense": num_dense}[block.residual]
        for source in range(num_sources):
            yield f"{ours}.residual_convs.{source}.weight", f"{theirs}.res.{source}.0.weight"
            yield from _norm_names(f"{ours}.residual_norms.{source}", f"{theirs}.res.{source}.1")
    for field in ("weight", "bias"):
        yield f"head.{field}", f"decoder.layers.0.{field}"


def _norm_names(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for field in _NORM_FIELDS:
        yield f"{ours}.{field}", f"{theirs}.{field}"
