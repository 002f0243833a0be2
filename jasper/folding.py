"""A configuration and its weights in, what inference computes out: batch norm folded, residual sums in one.

Every engine and exporter runs these layers, so that a network is simplified in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasper.config import BlockConfig, NetworkConfig, wired
from jasper.types import FloatArray

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class FoldedConvolution:
    """A convolution that keeps the number of steps (but for its stride); `name` is that of its weights."""

    name: str
    weight: FloatArray  # (filters, channels / groups, kernel)
    bias: FloatArray | None  # (filters,)
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)  # zeros before and after
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Excitation:
    """Squeeze-and-excitation (Hu et al. 2018): two 1×1 convolutions of the channels' means."""

    name: str
    squeeze: FoldedConvolution
    excite: FoldedConvolution


@dataclass(frozen=True, slots=True)
class FoldedBlock:
    """Sub-blocks one after the other, each of one convolution, or of two that make a separable one.

    The residual is one 1×1 convolution of the channels of all `sources` together: 0 are the features, i the
    output of block i - 1.
    """

    name: str
    sub_blocks: tuple[tuple[FoldedConvolution, ...], ...]
    sources: tuple[int, ...]
    residual: FoldedConvolution | None
    excitation: Excitation | None

    @property
    def stride(self) -> int:
        """Input steps per output step."""
        return self.sub_blocks[-1][0].stride


@dataclass(frozen=True, slots=True)
class FoldedNetwork:
    """Blocks, then the head, whose log-softmax are the log-probabilities."""

    blocks: tuple[FoldedBlock, ...]
    head: FoldedConvolution


def fold(config: NetworkConfig, weights: Weights) -> FoldedNetwork:
    """Fold the batch norms of a network into its convolutions, and each block's residual into one.

    `weights` are those of a model directory, checked already. Computed in double precision.
    """
    blocks = [
        _fold_block(f"blocks.{index}", block, sources, weights, config.norm_eps)
        for index, (block, sources) in enumerate(wired(config.blocks))
    ]
    head = FoldedConvolution("head", _single(weights["head.weight"]), _single(weights["head.bias"]))
    return FoldedNetwork(tuple(blocks), head)


def _fold_block(
    name: str, block: BlockConfig, sources: Sequence[int], weights: Weights, eps: float
) -> FoldedBlock:
    sub_blocks = tuple(_fold_sub_block(name, place, block, weights, eps) for place in range(block.repeat))
    parts = [
        _normalized(weights, f"{name}.residual_convs.{place}.weight", f"{name}.residual_norms.{place}", eps)
        for place in range(len(sources))
    ]
    residual = None
    if parts:
        weight = np.concatenate([weight for weight, _ in parts], axis=1)
        bias = np.sum([bias for _, bias in parts], axis=0)
        residual = FoldedConvolution(f"{name}.residual", _single(weight), _single(bias), stride=block.stride)
    excitation = None
    if block.squeeze:
        layers = [f"{name}.excitation.{layer}" for layer in ("squeeze", "excite")]
        excitation = Excitation(
            f"{name}.excitation",
            *(
                FoldedConvolution(layer, _single(weights[f"{layer}.weight"][:, :, None]), None)
                for layer in layers
            ),
        )
    return FoldedBlock(name, sub_blocks, tuple(sources), residual, excitation)


def _fold_sub_block(
    name: str, place: int, block: BlockConfig, weights: Weights, eps: float
) -> tuple[FoldedConvolution, ...]:
    conv, norm = f"{name}.convs.{place}", f"{name}.norms.{place}"
    stride = block.stride if place == block.repeat - 1 else 1
    if not block.separable:
        weight, bias = _normalized(weights, f"{conv}.weight", norm, eps)
        folded = FoldedConvolution(
            conv, _single(weight), _single(bias), stride, block.dilation, block.padding
        )
        return (folded,)
    depthwise = _single(weights[f"{conv}.0.weight"])
    weight, bias = _normalized(weights, f"{conv}.1.weight", norm, eps)
    return (
        FoldedConvolution(
            f"{conv}.0", depthwise, None, stride, block.dilation, block.padding, groups=len(depthwise)
        ),
        FoldedConvolution(f"{conv}.1", _single(weight), _single(bias)),
    )


def _normalized(weights: Weights, conv: str, norm: str, eps: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight (filters, C, k) and bias (filters,) of a convolution with the batch norm that follows it."""
    scale, bias, mean, variance = (
        weights[f"{norm}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = scale / np.sqrt(variance + eps)
    return weights[conv].astype(np.float64) * scale[:, None, None], bias - mean * scale


def _single(array: NDArray[Any]) -> FloatArray:
    return np.ascontiguousarray(array, dtype=np.float32)
