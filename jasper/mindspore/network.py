"""Features in, log-probabilities out: Jasper, QuartzNet and Citrinet, built from a NetworkConfig.

Inside, x is (B, T, C), time-major as it lies in memory in `jasper.nn`. Written for both of MindSpore's modes:
its graph compiler finds a cell's attributes by the name `self`, and knows no `zip` over cells and no keyword
arguments between them.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from jasper.config import BlockConfig, NetworkConfig, wired
from jasper.mindspore.convolution import Convolution
from jasper.mindspore.device import on_cpu
from jasper.mindspore.normalization import BatchNorm


class Jasper(nn.Cell):
    """Encoder of convolutional blocks and a 1×1 head: `jasper.nn.Jasper` (see there)."""

    def __init__(self, config: NetworkConfig, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        blocks: list[Block] = []
        widths = [num_features]
        for block, sources in wired(config.blocks):
            blocks.append(Block(block, widths[-1], [widths[source] for source in sources], config))
            widths.append(block.filters)
        self.blocks = nn.CellList(blocks)
        self.head = Convolution(widths[-1], num_classes, 1, bias=True)

    def construct(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, num_features, T), lengths (B,) to log_probs (B, T', num_classes), lengths.

        log_probs are natural logarithms in float32; past a row's length they mean nothing.
        """
        x = features.swapaxes(1, 2)
        valid = valid_steps(lengths, x)
        x = x * valid.astype(x.dtype)
        dense_inputs: tuple[Tensor, ...] = ()
        for block in self.blocks:
            if block.residual == "dense":
                dense_inputs = (*dense_inputs, x)
            sources = dense_inputs if block.residual == "dense" else (x,)
            x, lengths, valid = block(x, lengths, valid, sources)
        return ops.log_softmax(self.head(x).astype("float32"), -1), lengths


class Block(nn.Cell):
    """`repeat` sub-blocks; the residual sources join, each by a 1×1 convolution, before the last ReLU."""

    def __init__(self, config: BlockConfig, width: int, sources: list[int], network: NetworkConfig) -> None:
        super().__init__()
        self.residual = config.residual
        self.stride = config.stride
        widths = [width] + [config.filters] * (config.repeat - 1)
        strides = [1] * (config.repeat - 1) + [config.stride]
        self.convs = nn.CellList([_convolution(config, w, s) for w, s in zip(widths, strides, strict=True)])
        self.norms = nn.CellList([_norm(config.filters, network) for _ in widths])
        self.residual_convs = nn.CellList(
            [Convolution(w, config.filters, 1, stride=config.stride) for w in sources]
        )
        self.residual_norms = nn.CellList([_norm(config.filters, network) for _ in sources])
        self.excitation = SqueezeExcitation(config.filters, config.squeeze) if config.squeeze else None
        self.dropout = config.dropout

    def construct(
        self, x: Tensor, lengths: Tensor, valid: Tensor, sources: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (B, T, C), zero past `lengths`, to (B, T', filters), zero past the lengths that are returned.

        `valid` are the `valid_steps` of x; those of what is returned come with it. `sources` are the
        residual's inputs, x the last of them; without a residual they are not read.
        """
        last = len(self.convs) - 1
        for index in range(last):
            x = self._activate(self.norms[index](self.convs[index](x)), valid, x)
        y = self.norms[last](self.convs[last](x))
        if self.stride > 1:
            lengths = (lengths - 1) // self.stride + 1  # BlockConfig.num_steps, for kernels are odd
            valid = valid_steps(lengths, y)
        if self.excitation is not None:
            y = self.excitation(y, valid)
        for index in range(len(self.residual_convs)):
            y = y + self.residual_norms[index](self.residual_convs[index](sources[index]))
        return self._activate(y, valid, x), lengths, valid

    def _activate(self, y: Tensor, valid: Tensor, x: Tensor) -> Tensor:
        """ReLU, dropout and mask of y, in the type of x."""
        if self.training and self.dropout > 0:
            valid = drop(valid, y.shape[2], self.dropout)
        return (ops.relu(y) * valid).astype(x.dtype)


class SqueezeExcitation(nn.Cell):
    """Scales each channel by a function of all channels' means over the valid steps (Hu et al. 2018)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Dense(width, width // reduction, has_bias=False)
        self.excite = nn.Dense(width // reduction, width, has_bias=False)

    def construct(self, x: Tensor, valid: Tensor) -> Tensor:
        """Scale x (B, T, C), float32; `valid` are its `valid_steps`."""
        mean = (x * valid).sum(1) / ops.maximum(valid.sum(1), 1)
        scale = ops.sigmoid(self.excite(ops.relu(self.squeeze(mean))))
        return x * scale.reshape(x.shape[0], 1, x.shape[2])


def valid_steps(lengths: Tensor, x: Tensor) -> Tensor:
    """1 at the valid steps of each row of x (B, T, C) and 0 past them: (B, T, 1), float32."""
    valid = ops.arange(x.shape[1]).reshape(1, -1) < lengths.reshape(-1, 1)
    return valid.astype("float32").reshape(x.shape[0], x.shape[1], 1)


def drop(valid: Tensor, width: int, dropout: float) -> Tensor:
    """Dropout's factors (B, T, width) for the steps `valid` (B, T, 1), from the seed of `mindspore.set_seed`.

    Not nn.Dropout: on a CPU that seed does not make it repeatable.
    """
    rows, steps, _ = valid.shape
    if not on_cpu():
        return valid / (1 - dropout) * (ops.rand((rows, steps, width)) >= dropout).astype(valid.dtype)
    rng = np.random.default_rng(np.random.randint(1 << 31))
    kept = rng.random((rows, steps, width), np.float32) >= dropout
    return Tensor.from_numpy(kept * (valid.asnumpy() / np.float32(1 - dropout)))


def _convolution(config: BlockConfig, width: int, stride: int) -> nn.Cell:
    temporal = Convolution(
        width,
        width if config.separable else config.filters,
        config.kernel,
        stride=stride,
        dilation=config.dilation,
        separable=config.separable,
        future=config.future_context,
    )
    if not config.separable:
        return temporal
    return nn.SequentialCell([temporal, Convolution(width, config.filters, 1)])


def _norm(width: int, network: NetworkConfig) -> BatchNorm:
    return BatchNorm(width, network.norm_eps, network.norm_momentum)
