"""A configuration in, a network out; and its weights as NumPy arrays, in and out."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from jasper.bundle import Weights, check_shapes
from jasper.config import ModelConfig
from jasper.mindspore.convolution import Convolution
from jasper.mindspore.network import Jasper


def build_network(config: ModelConfig) -> Jasper:
    """The network of a configuration, all its weights zero."""
    return Jasper(config.network, config.features.num_features, len(config.text.labels) + 1)


def initial_weights(network: Jasper, seed: int) -> Weights:
    """Fresh weights: those of convolutions and linear maps uniform after Glorot and Bengio (2010)."""
    rng = np.random.default_rng(seed)
    weights = network_weights(network)
    for name, value in weights.items():
        if value.ndim > 1:
            fan_out, fan_in = value.shape[0] * value[0, 0].size, value[0].size
            bound = (6 / (fan_in + fan_out)) ** 0.5
            weights[name] = rng.uniform(-bound, bound, value.shape).astype(np.float32)
    return weights


def load_weights(network: Jasper, weights: Weights, source: str) -> None:
    """Copy weights into a network; a missing, extra or misshapen one raises ModelError with its name."""
    own, turned = network.parameters_dict(), _turned(network)
    shapes = {n: tuple(p.shape[::-1] if n in turned else p.shape) for n, p in own.items()}
    check_shapes(shapes, weights, source)
    for name, parameter in own.items():
        value = np.asarray(weights[name], np.float32)
        parameter.set_data(Tensor(value.T.copy() if name in turned else value))


def network_weights(network: Jasper) -> Weights:
    """The weights of a network as NumPy arrays, copied."""
    turned = _turned(network)
    values = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    return {name: (value.T if name in turned else value).copy() for name, value in values.items()}


def use_operations(network: Jasper) -> None:
    """Make a network one that MindSpore can write as a graph."""
    for _, cell in network.cells_and_names():
        if isinstance(cell, Convolution):
            cell.use_operations()


def _turned(network: Jasper) -> set[str]:
    """Names of the weights that a convolution keeps with their axes in reverse."""
    cells = network.cells_and_names()
    return {f"{name}.weight" for name, cell in cells if isinstance(cell, Convolution) and cell.turned}
