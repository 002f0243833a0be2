"""x (B, T, C) in, its convolution (B, T', filters) out: the accelerator's own, or a matrix product on a CPU.

MindSpore's CPU convolution is oneDNN's reference code, a hundred times slower than what is here
(docs/results.md); so there the steps that the kernel sees are gathered side by side and multiplied with the
weights at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from mindspore import Parameter, Tensor, context, nn, ops


class Convolution(nn.Cell):
    """`jasper.nn`'s convolution, its weights (filters, C, k) under the same names; it keeps time as padded.

    It sees `future` steps after its own, by default half of its kernel, and T' is ceil(T / stride). Where it
    is a matrix product, the weights are kept as (k, C, filters): to turn them takes longer than to multiply
    with them.
    """

    def __init__(
        self, width: int, filters: int, kernel: int, *, stride: int = 1, dilation: int = 1,
        separable: bool = False, bias: bool = False, future: int | None = None,
    ) -> None:  # fmt: skip
        """`separable`: each channel by itself."""
        super().__init__()
        # Of a separable one even the reference code is faster than all that was tried in its place.
        self.turned = context.get_context("device_target") == "CPU" and not separable
        shape = (filters, 1 if separable else width, kernel)
        self.weight = Parameter(Tensor(np.zeros(shape[::-1] if self.turned else shape, np.float32)))
        self.bias = Parameter(Tensor(np.zeros(filters, np.float32))) if bias else None
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        after = (kernel // 2 if future is None else future) * dilation
        before = (kernel - 1) * dilation - after
        self.uneven, self.padding = before != after, (before, after)
        self.groups = width if separable else 1
        self.product = _Product(kernel, stride, dilation, before)

    def construct(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) to (B, T', filters), in the type of x."""
        weight = self.weight.astype(x.dtype)
        if self.turned:
            y = self.product(x, weight)
        else:
            x, padding = x.swapaxes(1, 2), self.padding[0]
            if self.uneven:  # the operator knows one number for both sides
                x, padding = ops.pad(x, self.padding), 0
            y = ops.conv1d(x, weight, None, self.stride, "pad", padding, self.dilation, self.groups)
            y = y.swapaxes(1, 2)
        return y if self.bias is None else y + self.bias.astype(x.dtype)


class _Product(nn.Cell):
    """A convolution as one matrix product, and its two gradients as one each.

    Autograd would scatter the gradient of every tap by itself: the backward pass takes twice as long.
    """

    def __init__(self, kernel: int, stride: int, dilation: int, before: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.padding = before
        self.pointwise = kernel == stride == 1
        self.weight_gradient = ops.MatMul(transpose_a=True)
        self.input_gradient = ops.MatMul(transpose_b=True)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        """Map x (B, T, C) and weight (k, C, filters) to (B, T', filters)."""
        filters = weight.shape[2]
        y = ops.matmul(self._seen(x), weight.reshape(-1, filters))
        return y.reshape(x.shape[0], -1, filters)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and weight. Each step of x was seen by `kernel` steps of the output at most."""
        width, filters = weight.shape[1], weight.shape[2]
        grad_weight = self.weight_gradient(self._seen(x), dout.reshape(-1, filters)).reshape(weight.shape)
        # By (C, k, filters), row by row: a gather copies whole rows.
        row = ops.arange(width).reshape(-1, 1) + ops.arange(self.kernel).reshape(1, -1) * width
        by_input = ops.gather(weight.reshape(-1, filters), row.reshape(-1), 0).reshape(width, -1)
        grad_x = self.input_gradient(self._seeing(dout, x.shape[1]), by_input)
        return grad_x.reshape(x.shape), grad_weight

    def _seen(self, x: Tensor) -> Tensor:
        """What each output step sees of x (B, T, C), zeros beyond its ends: (B T', k C)."""
        if self.pointwise:
            return x.reshape(-1, x.shape[2])
        if self.training:
            return self._gather(
                x, _places_seen(x.shape[1], self.kernel, self.stride, self.dilation, self.padding)
            )
        steps = x.shape[1]
        first = ops.arange((steps - 1) // self.stride + 1) * self.stride - self.padding
        place = first.reshape(-1, 1) + ops.arange(self.kernel).reshape(1, -1) * self.dilation
        there = ops.logical_and(place >= 0, place < steps)
        return self._gather(x, ops.where(there, place, ops.full_like(place, steps)))

    def _seeing(self, grad: Tensor, steps: int) -> Tensor:
        """The gradients (B, T', filters) of what sees each of the steps of x: (B T, k filters)."""
        if self.pointwise:
            return grad.reshape(-1, grad.shape[2])
        places = _places_seeing(steps, self.kernel, self.stride, self.dilation, self.padding)
        return self._gather(grad, places)

    def _gather(self, x: Tensor, place: Tensor) -> Tensor:
        """Rows of x (B, T, C) at places (N, k), zeros at place T: (B N, k C)."""
        width = x.shape[2]
        x = ops.cat((x, ops.zeros((x.shape[0], 1, width), x.dtype)), 1)
        return ops.gather(x, place, 1).reshape(-1, self.kernel * width)


# Operators on so few numbers take as long to call as a small convolution takes to compute. An exported graph
# has them all the same, for lengths that it does not know.
@lru_cache(maxsize=4096)
def _places_seen(steps: int, kernel: int, stride: int, dilation: int, before: int) -> Tensor:
    """Which of so many steps the taps of each output step see (T', k); `steps` beyond the ends."""
    first = np.arange(0, steps, stride) - before
    place = first[:, None] + np.arange(kernel) * dilation
    return Tensor(np.where((place >= 0) & (place < steps), place, steps))


@lru_cache(maxsize=4096)
def _places_seeing(steps: int, kernel: int, stride: int, dilation: int, before: int) -> Tensor:
    """Which output steps see each of so many steps (T, k); T' for a tap with which none does."""
    num_outputs = -(-steps // stride)
    shift = np.arange(steps)[:, None] + before - np.arange(kernel) * dilation
    place = shift // stride
    there = (place >= 0) & (place < num_outputs) & (shift % stride == 0)
    return Tensor(np.where(there, place, num_outputs))
