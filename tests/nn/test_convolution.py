"""Our convolution is PyTorch's: values, gradients and layout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jasper.nn.convolution import Convolution, time_major

SHAPES = {
    "odd": {"kernel_size": 5, "padding": 2},
    "pointwise": {"kernel_size": 1},
    "dilated": {"kernel_size": 5, "padding": 6, "dilation": 3},
    "strided": {"kernel_size": 7, "padding": 3, "stride": 2},
    "depthwise": {"kernel_size": 3, "padding": 1, "groups": 6},
    "sees less future": {"kernel_size": 5, "padding": (3, 1)},
    "sees no future, strided": {"kernel_size": 7, "padding": (6, 0), "stride": 2, "groups": 6},
    "longer than the clip": {"kernel_size": 29, "padding": 28, "dilation": 2},
}


def gradients(conv: nn.Conv1d, x: torch.Tensor, pull: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    y = conv(x)
    (y * pull[:, :, : y.shape[2]].to(y.dtype)).sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in conv.parameters())]


def padded_conv1d(*sizes: int, padding: int | tuple[int, int] = 0, **settings: int) -> nn.Module:
    """PyTorch's own, which knows one number for both sides."""
    if isinstance(padding, int):
        return nn.Conv1d(*sizes, padding=padding, **settings)
    return nn.Sequential(nn.ConstantPad1d(padding, 0.0), nn.Conv1d(*sizes, **settings))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_values_and_gradients_are_those_of_conv1d(shape, dtype, tolerance):
    torch.manual_seed(0)
    ours, plain = (make(6, 12, **SHAPES[shape]).to(dtype) for make in (Convolution, padded_conv1d))
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    x, pull = torch.randn(3, 6, 23, dtype=dtype), torch.randn(3, 12, 23, dtype=dtype)
    for found, expected in zip(gradients(ours, x, pull), gradients(plain, x, pull), strict=True):
        atol = tolerance * float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=atol)


def test_under_autocast_it_computes_in_bfloat16_and_learns_in_float32():
    torch.manual_seed(0)
    conv = Convolution(16, 16, 5, padding=2, bias=False)
    x, pull = torch.randn(2, 16, 40), torch.randn(2, 16, 40)
    exact = gradients(conv, x, pull)
    conv.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        rounded = gradients(conv, x, pull)
    assert rounded[0].dtype == torch.bfloat16
    assert conv.weight.grad.dtype == torch.float32
    assert conv.weight.grad.is_contiguous()
    for found, expected in zip(rounded, exact, strict=True):
        assert (found.float() - expected).norm() < 0.01 * expected.norm()


def test_the_output_is_laid_out_for_the_next_one():
    y = Convolution(4, 8, 3, padding=1)(torch.randn(2, 4, 10))
    assert y.shape == (2, 8, 10)
    assert time_major(y).data_ptr() == y.data_ptr()
