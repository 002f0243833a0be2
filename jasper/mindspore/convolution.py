"""x (B, T, C) in, its convolution (B, T', filters) out: the accelerator's own, or a matrix product on a CPU.

MindSpore's CPU convolution is oneDNN's reference code, a hundred times slower than what is here
(docs/results.md); so there the steps that the kernel sees are gathered side by side and multiplied with the
weights at once.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from jasper.mindspore.device import on_cpu
from jasper.types import FloatArray


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
        self.turned = on_cpu() and not separable
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

    Autograd would scatter the gradient of every tap by itself: the backward pass takes twice as long. In
    training NumPy lays the windows out; only inference, which is exported as a graph, asks MindSpore to.
    """

    def __init__(self, kernel: int, stride: int, dilation: int, before: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.before, self.after = before, (kernel - 1) * dilation - before
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
        # By (C, k, filters), the last tap first, as `_seeing` has them: whole rows are copied.
        by_input = _tensor(weight.asnumpy()[::-1].swapaxes(0, 1)).reshape(width, -1)
        grad_x = self.input_gradient(self._seeing(dout, x.shape[1]), by_input)
        return grad_x.reshape(x.shape), grad_weight

    def _seen(self, x: Tensor) -> Tensor:
        """What each output step sees of x (B, T, C), zeros beyond its ends: (B T', k C)."""
        if self.pointwise:
            return x.reshape(-1, x.shape[2])
        if self.training:
            padded = np.pad(x.asnumpy(), ((0, 0), (self.before, self.after), (0, 0)))
            return self._windows(padded, self.stride)
        return self._gathered(x)

    def _seeing(self, grad: Tensor, steps: int) -> Tensor:
        """The gradients (B, T', filters) of what sees each of the steps of x: (B T, k filters)."""
        rows, _, filters = grad.shape
        if self.pointwise:
            return grad.reshape(-1, filters)
        padded = np.zeros((rows, self.after + steps + self.before, filters), grad.asnumpy().dtype)
        padded[:, self.after : self.after + steps : self.stride] = grad.asnumpy()
        return self._windows(padded, 1)

    def _windows(self, padded: FloatArray, stride: int) -> Tensor:
        """What the taps see of padded (B, N, C), in a row for every `stride`-th place: (…, k C)."""
        span = (self.kernel - 1) * self.dilation + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, span, 1)[:, ::stride, :, :: self.dilation]
        return _tensor(windows.swapaxes(2, 3)).reshape(-1, self.kernel * padded.shape[2])

    def _gathered(self, x: Tensor) -> Tensor:
        """`_seen` by MindSpore's operations, for a T that its graph does not know."""
        rows, steps, width = x.shape
        first = ops.arange((steps - 1) // self.stride + 1) * self.stride - self.before
        place = first.reshape(-1, 1) + ops.arange(self.kernel).reshape(1, -1) * self.dilation
        there = ops.logical_and(place >= 0, place < steps)
        place = ops.where(there, place, ops.full_like(place, steps))
        x = ops.cat((x, ops.zeros((rows, 1, width), x.dtype)), 1)
        return ops.gather(x, place, 1).reshape(-1, self.kernel * width)


def _tensor(array: FloatArray) -> Tensor:
    return Tensor.from_numpy(np.ascontiguousarray(array))
