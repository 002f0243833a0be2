"""A model and features in, log-probabilities out: the network in NumPy, layer by layer, nothing folded.

Slow and plain: what an exported file is checked against where PyTorch need not be installed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jasper.config import BlockConfig, NetworkConfig, expand
from jasper.folding import Weights
from jasper.types import FloatArray

Float64 = NDArray[np.float64]


def reference_log_probs(config: NetworkConfig, weights: Weights, features: FloatArray) -> FloatArray:
    """Map the features (F, T) of one utterance, without padding, to log_probs (T', V), in float64."""
    x: Float64 = features.astype(np.float64)
    dense: list[Float64] = []
    for index, block in enumerate(expand(config.blocks)):
        if block.residual == "dense":
            dense.append(x)
        sources = {"none": [], "plain": [x], "dense": dense}[block.residual]
        part = {
            name.removeprefix(f"blocks.{index}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{index}.")
        }
        x = _block(block, config.norm_eps, part, x, sources)
    logits = _convolve(x, weights["head.weight"]) + weights["head.bias"][:, None]
    logits = logits - logits.max(axis=0)
    return np.asarray((logits - np.log(np.exp(logits).sum(axis=0))).T, dtype=np.float32)


def _block(block: BlockConfig, eps: float, weights: Weights, x: Float64, sources: list[Float64]) -> Float64:
    for place in range(block.repeat):
        stride = block.stride if place == block.repeat - 1 else 1
        if block.separable:
            x = _convolve(x, weights[f"convs.{place}.0.weight"], stride, block.dilation, block.padding)
            x = _convolve(x, weights[f"convs.{place}.1.weight"])
        else:
            x = _convolve(x, weights[f"convs.{place}.weight"], stride, block.dilation, block.padding)
        x = _norm(x, weights, f"norms.{place}", eps)
        if place < block.repeat - 1:
            x = np.maximum(x, 0)
    if block.squeeze:
        mean = x.mean(axis=1)
        hidden = np.maximum(weights["excitation.squeeze.weight"] @ mean, 0)
        x = x / (1 + np.exp(-(weights["excitation.excite.weight"] @ hidden)))[:, None]
    for place, source in enumerate(sources):
        branch = _convolve(source, weights[f"residual_convs.{place}.weight"], block.stride)
        x = x + _norm(branch, weights, f"residual_norms.{place}", eps)
    return np.maximum(x, 0)


def _convolve(
    x: Float64,
    weight: NDArray[np.float32],
    stride: int = 1,
    dilation: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Float64:
    """x (C, T), with `padding` zeros around it, by weight (filters, C, k) or (C, 1, k), tap after tap."""
    taps, steps = weight.shape[2], -(-x.shape[1] // stride)
    padded = np.pad(x, ((0, 0), padding))
    depthwise = weight.shape[1] == 1
    y = np.zeros((len(weight), steps))
    for tap in range(taps):
        first = tap * dilation
        seen = padded[:, first : first + (steps - 1) * stride + 1 : stride]
        kernel = weight[:, :, tap].astype(np.float64)
        y += kernel * seen if depthwise else kernel @ seen
    return y


def _norm(x: Float64, weights: Weights, name: str, eps: float) -> Float64:
    scale, bias, mean, variance = (
        weights[f"{name}.{part}"].astype(np.float64)[:, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.asarray((x - mean) / np.sqrt(variance + eps) * scale + bias)
