"""The network in MindSpore is the network in PyTorch: same names, same numbers, whatever the batch."""

import mindspore
import numpy as np
import pytest
import torch
from mindspore import Tensor
from small_networks import BLOCKS, randomize

from jasper.config import BlockConfig, ModelConfig, NetworkConfig
from jasper.errors import ConfigError, ModelError
from jasper.mindspore.convolution import Convolution
from jasper.mindspore.device import use_device
from jasper.mindspore.network import drop
from jasper.mindspore.normalization import BatchNorm
from jasper.mindspore.weights import build_network, load_weights, network_weights
from jasper.nn import weights as torch_weights

TOLERANCE = 1e-4  # of log-probabilities

NETWORKS = {
    "jasper": BLOCKS,
    "quartznet": (
        BlockConfig(filters=24, kernel=11, stride=2, separable=True),
        BlockConfig(filters=24, kernel=5, repeat=3, residual="plain", separable=True),
        BlockConfig(filters=32, kernel=7, dilation=2, separable=True),
        BlockConfig(filters=32, kernel=1),
    ),
    "citrinet": (
        BlockConfig(filters=24, kernel=11, separable=True, squeeze=4),
        BlockConfig(filters=32, kernel=5, repeat=3, stride=2, residual="plain", separable=True, squeeze=8),
        BlockConfig(filters=32, kernel=1, squeeze=8),
    ),
    "streaming": (
        BlockConfig(filters=24, kernel=11, separable=True, future_context=2),
        BlockConfig(filters=32, kernel=5, repeat=2, stride=2, residual="plain", future_context=0),
    ),
}


def both(kind):
    """The same network with the same random weights in PyTorch and in MindSpore."""
    config = ModelConfig(network=NetworkConfig(blocks=NETWORKS[kind]))
    theirs = randomize(torch_weights.build_network(config))
    ours = build_network(config)
    load_weights(ours, torch_weights.network_weights(theirs), "here")
    return theirs, ours.set_train(False)


def ragged():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 64, 161), dtype=np.float32), np.array([161, 100, 37])


@pytest.mark.parametrize("kind", NETWORKS)
def test_log_probabilities_are_pytorchs_on_a_ragged_batch(kind):
    theirs, ours = both(kind)
    features, lengths = ragged()
    with torch.no_grad():
        expected, expected_lengths = theirs(torch.from_numpy(features), torch.from_numpy(lengths))
    log_probs, out_lengths = ours(Tensor(features), Tensor(lengths))
    assert out_lengths.asnumpy().tolist() == expected_lengths.tolist()
    for row, steps in enumerate(expected_lengths):
        difference = log_probs.asnumpy()[row, :steps] - expected[row, :steps].numpy()
        assert np.abs(difference).max() < TOLERANCE


def test_each_row_gives_what_it_gives_alone():
    _, ours = both("jasper")
    features, lengths = ragged()
    together, steps = (value.asnumpy() for value in ours(Tensor(features), Tensor(lengths)))
    for row, length in enumerate(lengths):
        alone, _ = ours(Tensor(features[row : row + 1, :, :length]), Tensor(lengths[row : row + 1]))
        assert np.abs(alone.asnumpy()[0] - together[row, : steps[row]]).max() < TOLERANCE


@pytest.mark.parametrize("kind", NETWORKS)
def test_names_shapes_and_order_are_pytorchs(kind):
    theirs, ours = both(kind)
    expected, found = torch_weights.network_weights(theirs), network_weights(ours)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("stride", "dilation", "separable", "future"),
    [
        (1, 1, False, None), (3, 1, False, None), (1, 2, False, None), (2, 1, True, None),
        (1, 1, False, 0), (2, 1, False, 1), (2, 1, True, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("eager", [True, False])
def test_gradients_of_a_convolution_are_pytorchs(stride, dilation, separable, future, eager):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 31, 6), dtype=np.float32)
    filters = 6 if separable else 4
    conv = Convolution(6, filters, 5, stride=stride, dilation=dilation, separable=separable, future=future)
    if not eager:
        conv.use_operations()
    weight = rng.standard_normal((filters, 1 if separable else 6, 5), dtype=np.float32)
    conv.weight.set_data(Tensor(weight.T.copy() if conv.turned else weight))
    x_torch, w_torch = torch.from_numpy(x).requires_grad_(), torch.from_numpy(weight).requires_grad_()
    pads = (2 * dilation, 2 * dilation) if future is None else (4 - future, future)
    padded = torch.nn.functional.pad(x_torch.transpose(1, 2), pads)
    expected = torch.conv1d(padded, w_torch, None, stride, 0, dilation, 6 if separable else 1).transpose(1, 2)
    expected.sin().sum().backward()

    def loss(x):
        return conv(x).sin().sum()

    grad_x, (grad_weight,) = mindspore.grad(loss, 0, list(conv.get_parameters()))(Tensor(x))
    assert np.abs(conv(Tensor(x)).asnumpy() - expected.detach().numpy()).max() < 1e-4
    assert np.abs(grad_x.asnumpy() - x_torch.grad.numpy()).max() < 1e-4
    grad_weight = grad_weight.asnumpy().T if conv.turned else grad_weight.asnumpy()
    assert np.abs(grad_weight - w_torch.grad.numpy()).max() < 1e-4


@pytest.mark.parametrize("rows", [1, 3])
def test_batch_norm_in_training_is_pytorchs(rows):
    rng = np.random.default_rng(2)
    x = 3 * rng.standard_normal((rows, 50, 7), dtype=np.float32) + 2
    ours, theirs = BatchNorm(7, 1e-3, 0.1).set_train(), torch.nn.BatchNorm1d(7, 1e-3, 0.1)
    for name in ("weight", "bias"):
        value = rng.standard_normal(7, dtype=np.float32)
        getattr(ours, name).set_data(Tensor(value))
        getattr(theirs, name).data = torch.from_numpy(value)
    x_torch = torch.from_numpy(x).requires_grad_()
    theirs(x_torch.transpose(1, 2)).sin().sum().backward()

    def loss(x):
        return ours(x).sin().sum()

    grad_x, grads = mindspore.grad(loss, 0, ours.trainable_params())(Tensor(x))
    assert np.abs(grad_x.asnumpy() - x_torch.grad.numpy()).max() < 1e-5
    for name, grad in zip(("weight", "bias"), grads, strict=True):
        assert np.abs(grad.asnumpy() - getattr(theirs, name).grad.numpy()).max() < 1e-4
    for name in ("running_mean", "running_var"):  # moved once
        assert np.abs(getattr(ours, name).asnumpy() - getattr(theirs, name).numpy()).max() < 1e-5


def test_dropout_drops_so_many_by_the_seed_and_none_past_the_lengths():
    valid = Tensor(np.array([1, 1, 1, 0], np.float32).reshape(1, 4, 1))
    found = []
    for seed in (1, 1, 2):
        mindspore.set_seed(seed)
        found.append(drop(valid, 5000, 0.25).asnumpy())
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert np.unique(found[0][0, :3]) == pytest.approx([0, 4 / 3])
    assert (found[0][0, :3] == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert not found[0][0, 3].any()


def test_weights_that_do_not_fit_are_named():
    _, ours = both("jasper")
    weights = network_weights(ours)
    weights["surplus"] = weights.pop("head.bias")
    with pytest.raises(ModelError, match=r"here: head\.bias is missing; surplus is unknown"):
        load_weights(ours, weights, "here")


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="known are auto, cpu, ascend"):
        use_device("cuda")
    assert use_device("cpu") == use_device("auto") == "CPU"
