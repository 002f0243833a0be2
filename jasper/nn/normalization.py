"""Convolutions' outputs in, their batch norms summed, rectified, dropped out and masked out: (B, C, T).

One autograd function in place of a chain of them: it keeps the convolutions' outputs and its own, from whose
zeros the backward knows what was rectified, dropped or masked. Statistics are float32 whatever the type of x.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

_PATTERNS = 1 << 16  # of the bits of a bfloat16
_NUMBERS = _PATTERNS - 254  # of them are not NaN

Activation = Callable[..., Tensor]  # with the arguments of `normalized_activation`


def normalized_activation(
    xs: Sequence[Tensor],
    norms: Iterable[nn.Module],
    mask: Tensor,
    dropout: float,
    added: Tensor | None = None,
) -> Tensor:
    """The sum of each batch norm of its x (B, C, T), through ReLU and dropout; zero outside mask (B, 1, T).

    `added` (B, C, T) joins the sum as it is. Norms in training mode use the statistics of the batch, padded
    steps included as in the field's other code, and move the running ones. `dropout` is the share of values
    set to zero, rounded to 1/65,536.
    """
    kinds = _counted(norms)
    weights = [tensor for norm in kinds for tensor in (norm.weight, norm.bias)]
    settings = [_Norm.of(norm) for norm in kinds]
    result: Tensor = _NormalizedActivation.apply(settings, mask, dropout, added, *xs, *weights)  # type: ignore[no-untyped-call]
    return result


def compiled_activation() -> Activation:
    """`normalized_activation` made of PyTorch's own operations, which its compiler fuses for the device.

    One compilation, of some seconds, for each number of branches and channels; any B and T go through it. Its
    dropout draws other numbers. On a CPU it is the slower of the two (docs/results.md).
    """
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, 64)
    fused = torch.compile(_composed, dynamic=True)

    def activation(xs: Sequence[Tensor], norms: Iterable[nn.Module], *others: Any, **named: Any) -> Tensor:
        return fused(list(xs), _counted(norms), *others, **named)

    return activation


def _composed(
    xs: list[Tensor],
    norms: list[nn.BatchNorm1d],
    mask: Tensor,
    dropout: float,
    added: Tensor | None = None,
) -> Tensor:
    total = added
    for x, norm in zip(xs, norms, strict=True):
        assert norm.momentum is not None
        y = functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias,
            norm.training, norm.momentum, norm.eps,
        )  # fmt: skip
        total = y if total is None else total + y
    assert total is not None
    return functional.dropout(torch.relu(total), dropout) * mask


def _counted(norms: Iterable[nn.Module]) -> list[nn.BatchNorm1d]:
    """The batch norms, those that train having counted one batch more."""
    kinds = [norm for norm in norms if isinstance(norm, nn.BatchNorm1d)]
    for norm in kinds:
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    return kinds


@dataclass(frozen=True, slots=True)
class _Norm:
    """What a batch norm has beside its weights; running statistics (C,) are moved in place in training."""

    running_mean: Tensor | None
    running_var: Tensor | None
    training: bool
    momentum: float
    eps: float

    @classmethod
    def of(cls, norm: nn.BatchNorm1d) -> _Norm:
        assert norm.momentum is not None  # the configuration always gives one
        return cls(norm.running_mean, norm.running_var, norm.training, norm.momentum, norm.eps)


class _NormalizedActivation(Function):
    @staticmethod
    def forward(
        ctx: Any, norms: list[_Norm], mask: Tensor, dropout: float, added: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        xs, weights = tensors[: len(norms)], tensors[len(norms) :]
        dropped = min(round(dropout * _PATTERNS), _NUMBERS)
        # What is kept is made larger by the norm's own weights, for ReLU lets a factor through.
        ctx.scale = _PATTERNS / (_PATTERNS - dropped)
        total = None if added is None else _rows(added) * ctx.scale
        moments = []
        for x, norm, weight, bias in zip(xs, norms, weights[::2], weights[1::2], strict=True):
            y, mean, inverse = torch.native_batch_norm(
                _rows(x), weight * ctx.scale, bias * ctx.scale, norm.running_mean, norm.running_var,
                norm.training, norm.momentum, norm.eps,
            )  # fmt: skip
            moments += [mean, inverse]
            total = y if total is None else total.add_(y)
        assert total is not None
        by_row = total.relu_().view(len(mask), -1, total.shape[1])
        by_row *= mask.transpose(1, 2).to(total.dtype)
        result = _drop(by_row, dropped).transpose(1, 2)
        ctx.norms = norms
        ctx.save_for_backward(result, *tensors, *moments)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        result, *saved = ctx.saved_tensors
        num = len(ctx.norms)
        xs, weights, moments = saved[:num], saved[num : 3 * num : 2], saved[3 * num :]
        grad = torch.ops.aten.threshold_backward(_rows(grads[0]), _rows(result), 0)
        for_added = _by_row(grad * ctx.scale, result) if ctx.needs_input_grad[3] else None
        for_xs, for_weights = [], []
        for index, (x, norm, weight) in enumerate(zip(xs, ctx.norms, weights, strict=True)):
            for_x, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
                grad, _rows(x), weight * ctx.scale, norm.running_mean, norm.running_var,
                *moments[2 * index : 2 * index + 2], norm.training, norm.eps, (True, True, True),
            )  # fmt: skip
            for_xs.append(_by_row(for_x, x))
            for_weights += [for_weight * ctx.scale, for_bias * ctx.scale]
        return None, None, None, for_added, *for_xs, *for_weights


def _rows(x: Tensor) -> Tensor:
    """x (B, C, T) as (B × T, C), without a copy where it is time-major."""
    return x.transpose(1, 2).reshape(-1, x.shape[1])


def _by_row(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (B × T, C) as (B, C, T), the shape of `like`, without a copy."""
    return rows.view(len(like), -1, rows.shape[1]).transpose(1, 2)


def _drop(x: Tensor, dropped: int) -> Tensor:
    """x with each value set to zero with probability `dropped` / 65,536, from PyTorch's generator.

    Random bits are read as bfloat16 and compared with the value that `dropped` of the 65,536 patterns are not
    above: four draws from one of 64 bits, and no mask; a sixth of the time of `bernoulli_` on a CPU.
    """
    if dropped == 0:
        return x
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    noise = bits.view(torch.bfloat16)[: x.numel()].view(x.shape)
    result: Tensor = torch.ops.aten.threshold_backward(x, noise, _value_above(dropped))
    return result.to(x.dtype)  # of float16 and bfloat16 together PyTorch makes float32


def _value_above(num: int) -> float:
    """The bfloat16 that `num` patterns are not above: from -inf, 0xFF80, to -0, then from 0 to inf."""
    negative = 0xFF81 - num
    pattern = negative if negative >= 0x8000 else 0x7FFF - negative
    return float(struct.unpack("<f", struct.pack("<HH", 0, pattern))[0])
