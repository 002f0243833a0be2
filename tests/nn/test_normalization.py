"""Norms, sum, ReLU, dropout and mask in one are the chain of PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jasper.nn.normalization import normalized_activation

SHAPE = (3, 5, 40)
LENGTHS = torch.tensor([40, 17, 1])


def mask() -> torch.Tensor:
    return (torch.arange(SHAPE[2]) < LENGTHS[:, None])[:, None]


def norms(num: int) -> nn.ModuleList:
    made = nn.ModuleList(nn.BatchNorm1d(SHAPE[1], eps=1e-3).double() for _ in range(num))
    for norm in made:
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
    return made


def chain(xs, layers, added):
    total = sum(norm(x) for x, norm in zip(xs, layers, strict=True))
    return torch.relu(total if added is None else total + added) * mask()


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("with_added", [False, True])
@pytest.mark.parametrize("num", [1, 4])
def test_values_gradients_and_statistics_are_those_of_the_chain(num, with_added, frozen):
    torch.manual_seed(0)
    ours, plain = norms(num).train(not frozen), norms(num).train(not frozen)
    plain.load_state_dict(ours.state_dict())
    pull = torch.randn(SHAPE, dtype=torch.float64)
    values = [torch.randn(SHAPE, dtype=torch.float64) for _ in range(num + 1)]
    results = []
    for layers, function in ((ours, None), (plain, chain)):
        *xs, added = (value.clone().requires_grad_() for value in values)
        extra = added if with_added else None
        y = function(xs, layers, extra) if function else normalized_activation(xs, layers, mask(), 0.0, extra)
        (y * pull).sum().backward()
        grads = [tensor.grad for tensor in [*xs, *([added] if with_added else []), *layers.parameters()]]
        results.append([y.detach(), *grads, *layers.buffers()])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.499, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(share, dtype):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(8).eval()
    x = torch.ones(4, 8, 20_000, dtype=dtype)
    everywhere = torch.ones(4, 1, 20_000, dtype=torch.bool)
    y = normalized_activation([x], [norm], everywhere, share).detach()
    deviation = (share * (1 - share) / y.numel()) ** 0.5
    assert float((y == 0).double().mean()) == pytest.approx(share, abs=5 * deviation)
    assert float(y[y != 0].double().mean()) == pytest.approx(1 / (1 - share), rel=0.01)
    # No row, channel or step is spared.
    by_channel = (y == 0).double().mean(dim=(0, 2))
    assert (by_channel - share).abs().max() < 5 * deviation * 8**0.5


def test_dropout_is_a_function_of_the_seed_and_its_gradient_passes_what_was_kept():
    norm = nn.BatchNorm1d(8).eval()
    x = torch.randn(2, 8, 50, requires_grad=True)
    everywhere = torch.ones(2, 1, 50, dtype=torch.bool)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(normalized_activation([x], [norm], everywhere, 0.5))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    outputs[0].sum().backward()
    assert torch.equal(x.grad != 0, outputs[0] != 0)
    assert float(x.grad.max()) == pytest.approx(2 / (1 + norm.eps) ** 0.5, rel=1e-4)


def test_masked_steps_are_exactly_zero_in_bfloat16_too():
    norm = nn.BatchNorm1d(SHAPE[1])
    y = normalized_activation([torch.randn(SHAPE).bfloat16()], [norm], mask(), 0.3)
    assert (y[~mask().expand(SHAPE)] == 0).all()
    assert (y[0] > 0).any()
