"""x (B, T, C) in, its batch norm out, with PyTorch's names and its sense of momentum."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops


class BatchNorm(nn.Cell):
    """`nn.BatchNorm1d` of PyTorch; in training it moves the running statistics. It computes in float32."""

    def __init__(self, width: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(np.ones(width, np.float32)))
        self.bias = Parameter(Tensor(np.zeros(width, np.float32)))
        self.running_mean = Parameter(Tensor(np.zeros(width, np.float32)), requires_grad=False)
        self.running_var = Parameter(Tensor(np.ones(width, np.float32)), requires_grad=False)
        self.by_batch = ops.BatchNorm(is_training=True, epsilon=eps, momentum=momentum)
        self.by_running = ops.BatchNorm(is_training=False, epsilon=eps)

    def construct(self, x: Tensor) -> Tensor:
        """Map x (B, T, C) to float32 of the same shape; in training by the statistics of all its steps."""
        rows = x.astype("float32").reshape(-1, x.shape[2])
        norm = self.by_batch if self.training else self.by_running
        y = norm(rows, self.weight, self.bias, self.running_mean, self.running_var)[0]
        return y.reshape(x.shape)
