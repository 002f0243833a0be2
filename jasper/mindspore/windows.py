"""Convolutions on a CPU: the steps that a kernel sees side by side, then a matrix product or sums.

NumPy lays them out, for on a CPU a tensor's memory is an array's; a graph to be exported gathers them.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from jasper.types import FloatArray


class Windows:
    """What the taps see of an array, as views of its memory, zeros beyond its ends."""

    def __init__(self, kernel: int, stride: int, dilation: int, before: int, after: int) -> None:
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.before, self.after = before, after

    def seen(self, x: FloatArray) -> FloatArray:
        """The steps of x (B, T, C) that each output step sees: (B, T', C, k)."""
        return self._slide(np.pad(x, ((0, 0), (self.before, self.after), (0, 0))), self.stride)

    def seeing(self, grad: FloatArray, steps: int) -> FloatArray:
        """The gradients (B, T', filters) of what sees each step of x, last tap first: (B, T, filters, k)."""
        rows, _, filters = grad.shape
        padded = np.zeros((rows, self.after + steps + self.before, filters), grad.dtype)
        padded[:, self.after : self.after + steps : self.stride] = grad
        return self._slide(padded, 1)

    def _slide(self, padded: FloatArray, stride: int) -> FloatArray:
        span = (self.kernel - 1) * self.dilation + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, span, 1)
        return windows[:, ::stride, :, :: self.dilation]


class Product(nn.Cell):
    """A convolution as one matrix product, and its two gradients as one each.

    Autograd would scatter the gradient of every tap by itself: the backward pass takes twice as long.
    """

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.windows = windows
        self.kernel, self.stride, self.dilation = windows.kernel, windows.stride, windows.dilation
        self.before = windows.before
        self.pointwise = self.kernel == self.stride == 1
        self.eager = True
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
        # By (C, k, filters), the last tap first, as in `seeing`: whole rows are copied.
        by_input = _tensor(weight.asnumpy()[::-1].swapaxes(0, 1)).reshape(width, -1)
        grad_x = self.input_gradient(self._seeing(dout, x.shape[1]), by_input)
        return grad_x.reshape(x.shape), grad_weight

    def _seen(self, x: Tensor) -> Tensor:
        """What each output step sees of x (B, T, C): (B T', k C)."""
        if self.pointwise:
            return x.reshape(-1, x.shape[2])
        if self.eager:
            return self._rows(self.windows.seen(x.asnumpy()))
        return self._gathered(x)

    def _seeing(self, grad: Tensor, steps: int) -> Tensor:
        """The gradients (B, T', filters) of what sees each of the steps of x: (B T, k filters)."""
        if self.pointwise:
            return grad.reshape(-1, grad.shape[2])
        return self._rows(self.windows.seeing(grad.asnumpy(), steps))

    def _rows(self, windows: FloatArray) -> Tensor:
        """Windows (B, T, C, k) as the rows (B T, k C) of a matrix."""
        return _tensor(windows.swapaxes(2, 3)).reshape(-1, self.kernel * windows.shape[2])

    def _gathered(self, x: Tensor) -> Tensor:
        """`_seen` by MindSpore's operations, for a T that its graph does not know."""
        rows, steps, width = x.shape
        first = ops.arange((steps - 1) // self.stride + 1) * self.stride - self.before
        place = first.reshape(-1, 1) + ops.arange(self.kernel).reshape(1, -1) * self.dilation
        there = ops.logical_and(place >= 0, place < steps)
        place = ops.where(there, place, ops.full_like(place, steps))
        x = ops.cat((x, ops.zeros((rows, 1, width), x.dtype)), 1)
        return ops.gather(x, place, 1).reshape(-1, self.kernel * width)


class Sums(nn.Cell):
    """A separable convolution on a CPU as sums over windows by NumPy, and its two gradients."""

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        self.windows = windows

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        """Map x (B, T, C) and weight (C, 1, k) to (B, T', C)."""
        y = np.einsum("btck,kc->btc", self.windows.seen(_single(x)), _taps(weight))
        return Tensor.from_numpy(y).astype(x.dtype)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and weight."""
        grad = _single(dout)
        grad_taps = np.einsum("btck,btc->kc", self.windows.seen(_single(x)), grad)
        grad_x = np.einsum("btck,kc->btc", self.windows.seeing(grad, x.shape[1]), _taps(weight)[::-1])
        grad_weight = _tensor(grad_taps.T[:, None])
        return Tensor.from_numpy(grad_x).astype(x.dtype), grad_weight.astype(weight.dtype)


def _single(x: Tensor) -> FloatArray:
    """In float32, in which sums are to be."""
    array: FloatArray = x.asnumpy().astype(np.float32, copy=False)
    return array


def _taps(weight: Tensor) -> FloatArray:
    """The weights (C, 1, k) of a separable convolution tap by tap: (k, C)."""
    return np.ascontiguousarray(_single(weight)[:, 0].T)


def _tensor(array: FloatArray) -> Tensor:
    return Tensor.from_numpy(np.ascontiguousarray(array))
