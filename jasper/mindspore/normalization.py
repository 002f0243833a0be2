"""x (B, T, C) in, its batch norm out, with PyTorch's names and its sense of momentum."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from jasper.mindspore.device import on_cpu


class BatchNorm(nn.Cell):
    """`nn.BatchNorm1d` of PyTorch; in training it moves the running statistics. It computes in float32."""

    def __init__(self, width: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(np.ones(width, np.float32)))
        self.bias = Parameter(Tensor(np.zeros(width, np.float32)))
        self.running_mean = Parameter(Tensor(np.zeros(width, np.float32)), requires_grad=False)
        self.running_var = Parameter(Tensor(np.ones(width, np.float32)), requires_grad=False)
        if on_cpu():
            self.by_batch = _NormByBatch(eps, momentum)
        else:
            self.by_batch = ops.BatchNorm(is_training=True, epsilon=eps, momentum=momentum)
        self.by_running = ops.BatchNorm(is_training=False, epsilon=eps)

    def construct(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) to float32 of the same shape; in training by the statistics of all its steps."""
        rows = x.astype("float32").reshape(-1, x.shape[2])
        norm = self.by_batch if self.training else self.by_running
        y = norm(rows, self.weight, self.bias, self.running_mean, self.running_var)[0]
        return y.reshape(x.shape)


class _NormByBatch(nn.Cell):
    """MindSpore's operation by NumPy, on a CPU ten times as fast; in and out are the same.

    The running variance moves by that of a sample, which has one in N fewer to divide by, as in PyTorch.
    """

    def __init__(self, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum

    def construct(
        self, rows: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise rows (N, C); their mean and 1 / deviation (C,) come with them."""
        x = rows.asnumpy()
        mean = x.mean(0)
        y = x - mean
        var = np.einsum("nc,nc->c", y, y) / len(y)
        scale = 1 / np.sqrt(var + np.float32(self.eps))
        y *= scale * weight.asnumpy()
        y += bias.asnumpy()
        for running, found in ((running_mean, mean), (running_var, var * (len(y) / max(len(y) - 1, 1)))):
            kept = running.asnumpy()
            kept += np.float32(self.momentum) * (found.astype(np.float32) - kept)
        return Tensor.from_numpy(y), Tensor.from_numpy(mean), Tensor.from_numpy(scale)

    def bprop(self, rows, weight, bias, running_mean, running_var, out, dout):  # type: ignore[no-untyped-def]
        """Gradients of rows, weight and bias (Ioffe and Szegedy 2015), and none of what is running."""
        mean, scale = out[1].asnumpy(), out[2].asnumpy()
        grad = dout[0].asnumpy()
        x = rows.asnumpy() - mean
        grad_bias = grad.sum(0)
        grad_weight = np.einsum("nc,nc->c", grad, x) * scale
        factor = scale * weight.asnumpy()
        with np.errstate(over="ignore", invalid="ignore"):  # under a loss scale that is too large
            x *= -factor * scale * grad_weight / len(x)
            x += grad * factor
            x -= factor * grad_bias / len(x)
        none = np.zeros_like(mean)
        return tuple(map(Tensor.from_numpy, (x, grad_weight, grad_bias, none, none)))
