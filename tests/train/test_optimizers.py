"""NovoGrad against the paper's formulas; what AdamW decays; which settings reach the optimizer."""

import math

import pytest
import torch

from jasper.config import AdaptConfig, NetworkConfig, OptimizerConfig
from jasper.nn import Jasper
from jasper.train.adapt import parameter_groups
from jasper.train.optimizers import NovoGrad, build_optimizer

NETWORK = NetworkConfig.model_validate({"blocks": [{"filters": 4, "kernel": 3}]})
SHAPES = [(5, 3, 2), (4,), (2, 2)]


def test_novograd_is_the_papers_loop():
    """Algorithm 1 of Ginsburg et al. 2019, tensor by tensor and number by number."""
    for betas, decay in [((0.95, 0.98), 1e-3), ((0.95, 0.0), 0.0), ((0.9, 0.5), 0.1)]:
        generator = torch.Generator().manual_seed(1)

        def draw(shape, generator=generator):
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        params = [torch.nn.Parameter(draw(shape)) for shape in SHAPES]
        plain = [param.detach().flatten().tolist() for param in params]
        moments, velocities = [[0.0] * len(row) for row in plain], [None] * len(plain)
        optimizer = NovoGrad(params, lr=0.02, betas=betas, eps=1e-8, weight_decay=decay)
        for rate in (0.02, 0.02, 0.01, 0.03, 0.005):
            optimizer.param_groups[0]["lr"] = rate
            for index, param in enumerate(params):
                param.grad = draw(param.shape)
                grad = param.grad.flatten().tolist()
                square = sum(g * g for g in grad)
                before = velocities[index]
                velocity = square if before is None else betas[1] * before + (1 - betas[1]) * square
                velocities[index] = velocity
                for place, g in enumerate(grad):
                    pull = g / (math.sqrt(velocity) + 1e-8) + decay * plain[index][place]
                    moments[index][place] = betas[0] * moments[index][place] + pull
                for place, moment in enumerate(moments[index]):
                    plain[index][place] -= rate * moment
            optimizer.step()
            for param, expected in zip(params, plain, strict=True):
                assert param.detach().flatten().tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_novograd_has_one_second_moment_a_tensor():
    param = torch.nn.Parameter(torch.ones(7, 3))
    param.grad = torch.full_like(param, 2.0)
    optimizer = NovoGrad([param], lr=0.1)
    optimizer.step()
    assert optimizer.state[param]["velocity"].shape == ()
    assert float(optimizer.state[param]["velocity"]) == pytest.approx(4 * 21)


def test_novograd_leaves_parameters_without_a_gradient_and_survives_a_zero_one():
    still, zero = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    zero.grad = torch.zeros(3)
    NovoGrad([still, zero], lr=0.1).step()
    assert torch.equal(still.detach(), torch.ones(3))
    assert torch.equal(zero.detach(), torch.ones(3))


def test_adamw_decays_matrices_alone():
    network = Jasper(NETWORK, 6, 3)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = build_optimizer(
        parameter_groups(network, AdaptConfig()),
        OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5),
    )
    for param in network.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    decayed = 0
    for name, value in network.named_parameters():
        factor = 1 - 0.1 * 0.5 if value.ndim > 1 else 1.0
        decayed += value.ndim > 1
        assert torch.allclose(value.detach(), factor * before[name]), name
    assert 0 < decayed < len(before)


@pytest.mark.parametrize(
    ("settings", "betas"),
    [
        ({"name": "novograd"}, (0.95, 0.0)),
        ({"name": "adamw"}, (0.9, 0.98)),
        ({"name": "novograd", "betas": (0.8, 0.5)}, (0.8, 0.5)),
        ({"name": "adamw", "betas": (0.8, 0.0)}, (0.8, 0.0)),
    ],
)
def test_every_setting_reaches_the_optimizer(settings, betas):
    config = OptimizerConfig(**settings, learning_rate=0.03, eps=1e-5, weight_decay=0.2)
    optimizer = build_optimizer(parameter_groups(Jasper(NETWORK, 6, 3), AdaptConfig()), config)
    group = optimizer.param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == (betas, 1e-5, 0.2, 0.03)


def test_every_parameter_is_in_exactly_one_group():
    for name in ("novograd", "adamw"):
        network = Jasper(NETWORK, 6, 3)
        groups = build_optimizer(
            parameter_groups(network, AdaptConfig()), OptimizerConfig(name=name)
        ).param_groups
        held = [id(param) for group in groups for param in group["params"]]
        assert sorted(held) == sorted(id(param) for param in network.parameters())


def test_one_pass_over_memory_moves_as_the_lists_of_tensors_do():
    """On a CPU float32 takes a way of its own; double precision takes the accelerators'."""
    torch.manual_seed(0)
    begin, gradients = torch.randn(5, 7), [torch.randn(5, 7) for _ in range(4)]
    moved = []
    for dtype in (torch.float32, torch.float64):
        param = torch.nn.Parameter(begin.to(dtype, copy=True))
        optimizer = NovoGrad([param], lr=0.1, betas=(0.9, 0.5), weight_decay=0.01)
        for step, gradient in enumerate(gradients):
            param.grad = gradient.to(dtype, copy=True)
            optimizer.found_inf = torch.tensor(float(step == 2))
            optimizer.step()
        moved.append(param.detach().double())
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-5, atol=1e-6)
