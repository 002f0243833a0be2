"""The moving average against the plain formula."""

import pytest
import torch

from jasper.config import NetworkConfig
from jasper.nn import Jasper
from jasper.train.average import MovingAverage

NETWORK = NetworkConfig.model_validate({"blocks": [{"filters": 4, "kernel": 3, "dropout": 0.5}]})


def move(network, seed):
    """Other weights and other statistics of batch norm."""
    generator = torch.Generator().manual_seed(seed)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.randn(value.shape, generator=generator))


def test_equal_to_the_plain_formula_weights_and_statistics_alike():
    network = Jasper(NETWORK, 6, 3)
    average = MovingAverage(network, decay=0.9)
    floating = [name for name, value in network.state_dict().items() if value.is_floating_point()]
    plain = {name: network.state_dict()[name].double().clone() for name in floating}
    for step in range(1, 120):
        move(network, step)
        average.update(step, torch.tensor(True))
        decay = min(0.9, (1 + step) / (10 + step))  # 2/11, 3/12, …: it reaches 0.9 at step 80
        for name in floating:
            plain[name] = decay * plain[name] + (1 - decay) * network.state_dict()[name].double()
    assert "blocks.0.norms.0.running_var" in floating
    for name in floating:
        assert torch.allclose(average.network.state_dict()[name].double(), plain[name], rtol=1e-4, atol=1e-5)


def test_a_decay_of_zero_is_the_network_itself():
    network = Jasper(NETWORK, 6, 3)
    average = MovingAverage(network, decay=0.0)
    for step in (1, 2):
        move(network, step)
        average.update(step, torch.tensor(True))
    own, theirs = average.network.state_dict(), network.state_dict()
    assert all(torch.equal(own[n], theirs[n]) for n in own if own[n].is_floating_point())


def test_it_is_apart_from_the_network_and_evaluates():
    network = Jasper(NETWORK, 6, 3).train()
    average = MovingAverage(network, decay=0.5)
    before = average.network.head.weight.clone()
    move(network, 1)
    assert torch.equal(average.network.head.weight, before)
    assert not average.network.training
    assert network.training
    assert not any(param.requires_grad for param in average.network.parameters())
    x, lengths = torch.randn(1, 6, 20), torch.tensor([20])
    assert torch.equal(average.network(x, lengths)[0], average.network(x, lengths)[0])
    with pytest.raises(RuntimeError, match="does not require grad"):
        average.network(x, lengths)[0].sum().backward()


def test_it_follows_after_both_have_loaded_other_weights():
    """As a resumed run does; the tensors that it follows are those that the network computes with."""
    network, other = Jasper(NETWORK, 6, 3), Jasper(NETWORK, 6, 3)
    average = MovingAverage(network, decay=0.0)
    move(other, 1)
    network.load_state_dict(other.state_dict())
    average.network.load_state_dict(Jasper(NETWORK, 6, 3).state_dict())
    average.update(1, torch.tensor(True))
    own, theirs = average.network.state_dict(), other.state_dict()
    assert all(torch.equal(own[n], theirs[n]) for n in own if own[n].is_floating_point())
