"""A configuration in, a network out; and its weights as NumPy arrays, in and out."""

from __future__ import annotations

from pathlib import Path

import torch

from jasper.bundle import Weights, check_shapes, read_model_config, read_weights
from jasper.config import ModelConfig
from jasper.directory import WEIGHTS_FILE
from jasper.nn.network import Jasper


def build_network(config: ModelConfig) -> Jasper:
    """The network of a configuration, with fresh weights."""
    return Jasper(config.network, config.features.num_features, len(config.text.labels) + 1)


def load_network(directory: Path) -> Jasper:
    """The network of a model directory, with its weights; raises ModelError where they do not fit."""
    network = build_network(read_model_config(directory))
    load_weights(network, read_weights(directory), str(directory / WEIGHTS_FILE))
    return network


def network_shape(config: ModelConfig) -> Jasper:
    """The network of a configuration without memory for its weights: names and shapes alone."""
    with torch.device("meta"):
        return build_network(config)


def load_weights(network: Jasper, weights: Weights, source: str) -> None:
    """Copy weights into a network; a missing, extra or misshapen one raises ModelError with its name."""
    check_weights(network, weights, source)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, strict=False)


def check_weights(network: Jasper, weights: Weights, source: str) -> None:
    """Raise ModelError that names missing, extra and misshapen weights; a network on `meta` will do."""
    shapes = {name: tuple(value.shape) for name, value in model_state(network).items()}
    check_shapes(shapes, weights, source)


def network_weights(network: Jasper) -> Weights:
    """The weights of a network as NumPy arrays, copied."""
    return {name: value.detach().cpu().numpy().copy() for name, value in model_state(network).items()}


def model_state(network: Jasper) -> dict[str, torch.Tensor]:
    """What a model directory keeps: all but the batch counters, which a fixed momentum never reads."""
    state = network.state_dict()
    return {name: value for name, value in state.items() if not name.endswith(".num_batches_tracked")}
