"""x (B, C, T) in, its convolution (B, filters, T') out, both in memory as (B, T, C).

In that layout a convolution is a matrix product and a norm reads whole rows. Shapes stay those of
`nn.Conv1d`; only the strides differ.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class Convolution(nn.Conv1d):
    """`nn.Conv1d`, its weights under the same name, in the type of autocast where that is on.

    Its padding may be two numbers, of zeros before and after x.
    """

    def __init__(
        self, width: int, filters: int, kernel_size: int, padding: int | tuple[int, int] = 0, **settings: Any
    ) -> None:
        before, after = padding if isinstance(padding, tuple) else (padding, padding)
        even = before if before == after else 0
        super().__init__(width, filters, kernel_size, padding=even, **settings)
        self.uneven = (before, after) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, T) to (B, filters, T'), time-major in memory; x of another layout is copied."""
        device, dtype = x.device.type, self.weight.dtype
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        shape = (self.stride[0], int(self.padding[0]), self.dilation[0], self.groups)
        if self.uneven:
            x = nn.functional.pad(x, self.uneven)
        y: Tensor = _Convolve.apply(time_major(x).to(dtype), self.weight, dtype, shape)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.to(dtype)[:, None]


def time_major(x: Tensor) -> Tensor:
    """The same values and shape (B, C, T), in memory as (B, T, C)."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


class _Convolve(Function):
    """Keeps the weights in the type that it computes in, and gives their gradient in the type they have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
        # One copy for the type and the layout; both passes of the backward use it again.
        kernel = weight[:, :, None].to(dtype=dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, kernel)
        ctx.shape, ctx.weight_dtype = shape, weight.dtype
        stride, padding, dilation, groups = shape
        y = torch.conv2d(x[:, :, None], kernel, None, (1, stride), (0, padding), (1, dilation), groups)
        return y[:, :, 0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, kernel = ctx.saved_tensors
        grad = time_major(grads[0])
        stride, _, dilation, groups = ctx.shape
        for_x, for_weight = ctx.needs_input_grad[:2]
        even = grad.shape[2] == x.shape[2]
        by_products = for_weight and even and grad.device.type == "cpu" and stride == groups == 1
        grad_x, grad_kernel = _convolve_backward(
            grad, x, kernel, ctx.shape, (for_x, for_weight and not by_products)
        )
        if by_products:
            grad_kernel = weight_gradient(grad, x, kernel.shape[3], dilation)
        if grad_kernel is not None:
            grad_kernel = grad_kernel.to(ctx.weight_dtype, memory_format=torch.contiguous_format)
        return grad_x, grad_kernel, None, None


def _convolve_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, shape: tuple[int, ...], needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """PyTorch's own gradients of x (B, C, T) and of the weights (filters, C, k); None where not needed."""
    if not any(needed):
        return None, None
    stride, padding, dilation, groups = shape
    grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
        grad[:, :, None], x[:, :, None], kernel, None, (1, stride), (0, padding), (1, dilation),
        False, (0, 0), groups, (*needed, False),
    )  # fmt: skip
    return (grad_x[:, :, 0] if needed[0] else None), (grad_kernel[:, :, 0] if needed[1] else None)


def weight_gradient(grad: Tensor, x: Tensor, kernel: int, dilation: int) -> Tensor:
    """The gradient (filters, C, kernel) of a convolution's weights, as one matrix product a tap.

    grad (B, filters, T) is the output's gradient, x (B, C, T) the input of a convolution that keeps T. All
    rows of the batch lie in one, zeros between them, so tap k is (filters, S) times a view (S, C) of x that
    begins k × dilation steps in:

        zeros row 0 zeros row 1 zeros
        |<- S of tap 0 ->|              twice as fast as oneDNN's own where k is large (docs/results.md)
         ...|<- S of tap k ->|
    """
    batch, channels, steps = x.shape
    filters, padding = grad.shape[1], kernel // 2 * dilation
    period = steps + padding
    rows = x.new_zeros(batch * period + 2 * padding, channels)
    rows[padding : padding + batch * period].view(batch, period, -1)[:, :steps] = x.transpose(1, 2)
    columns = grad.new_zeros(filters, batch, period)
    # Row by row PyTorch transposes in blocks; all at once it walks through memory, four times as long.
    for row, own in enumerate(grad):
        columns[:, row, :steps] = own
    taps = x.new_empty(filters, kernel, channels)
    for tap in range(kernel):
        first = tap * dilation
        torch.mm(columns.flatten(1), rows[first : first + batch * period], out=taps[:, tap])
    return taps.transpose(1, 2)
