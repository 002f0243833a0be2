"""x (B, T, C) in, its convolution (B, T', filters) out: the accelerator's own, or on a CPU one of ours.

MindSpore's CPU convolution is oneDNN's reference code, a hundred times slower than `jasper.mindspore.windows`
(docs/results.md).
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from jasper.mindspore.device import on_cpu
from jasper.mindspore.windows import Product, Sums, Windows


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
        self.turned = on_cpu() and not separable
        shape = (filters, 1 if separable else width, kernel)
        self.weight = Parameter(Tensor(np.zeros(shape[::-1] if self.turned else shape, np.float32)))
        self.bias = Parameter(Tensor(np.zeros(filters, np.float32))) if bias else None
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        after = (kernel // 2 if future is None else future) * dilation
        before = (kernel - 1) * dilation - after
        self.uneven, self.padding = before != after, (before, after)
        self.groups = width if separable else 1
        self.eager = on_cpu()
        windows = Windows(kernel, stride, dilation, before, after)
        self.product, self.sums = Product(windows), Sums(windows)

    def construct(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) to (B, T', filters), in the type of x."""
        weight = self.weight.astype(x.dtype)
        if self.turned:
            y = self.product(x, weight)
        elif self.eager:
            y = self.sums(x, weight)
        else:
            x, padding = x.swapaxes(1, 2), self.padding[0]
            if self.uneven:  # the operator knows one number for both sides
                x, padding = ops.pad(x, self.padding), 0
            y = ops.conv1d(x, weight, None, self.stride, "pad", padding, self.dilation, self.groups)
            y = y.swapaxes(1, 2)
        return y if self.bias is None else y + self.bias.astype(x.dtype)

    def use_operations(self) -> None:
        """Be made of MindSpore's operations alone, which a graph can hold; NumPy is faster on a CPU."""
        self.eager = self.product.eager = False
