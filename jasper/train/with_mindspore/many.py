"""Many tensors in, one operation on all of them: by NumPy where they are in the host's memory.

There a call of one of MindSpore's operations takes ten times as long as the arithmetic on a small tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, ops

from jasper.mindspore.device import on_cpu


def norm(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all their numbers."""
    if on_cpu():
        arrays = [tensor.asnumpy().ravel() for tensor in tensors]
        return math.sqrt(sum(float(np.dot(array, array)) for array in arrays))
    return math.sqrt(float(ops.stack([(tensor * tensor).sum() for tensor in tensors]).sum()))


def scaled(tensors: Sequence[Tensor], factor: float) -> list[Tensor]:
    """Each of them times a number."""
    if factor == 1:
        return list(tensors)
    if on_cpu():
        return [Tensor.from_numpy(tensor.asnumpy() * np.float32(factor)) for tensor in tensors]
    return [tensor * factor for tensor in tensors]


def follow(followers: Sequence[Tensor], leaders: Sequence[Tensor], share: float) -> None:
    """Move each follower that share of the way to its leader."""
    for own, theirs in zip(followers, leaders, strict=True):
        if on_cpu():
            value = own.asnumpy()  # the parameter's own memory
            value += (theirs.asnumpy() - value) * np.float32(share)
        else:
            ops.assign(own, ops.lerp(own, theirs, share))
