"""Small networks with random weights and batch-norm statistics, for tests of what is around them."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import strategies as st

from jasper.bundle import write_bundle
from jasper.config import BlockConfig, FeatureConfig, ModelConfig, NetworkConfig, TextConfig
from jasper.nn import Jasper
from jasper.nn.weights import build_network, network_weights

BLOCKS = (
    BlockConfig(filters=24, kernel=11, stride=2),
    BlockConfig(filters=24, kernel=5, repeat=2, residual="dense"),
    BlockConfig(filters=32, kernel=7, repeat=2, residual="dense"),
    BlockConfig(filters=32, kernel=3, dilation=2),
)


def small_config(**features: object) -> ModelConfig:
    """A model of a few thousand parameters, with keywords for its FeatureConfig."""
    return ModelConfig(
        network=NetworkConfig(blocks=BLOCKS),
        features=FeatureConfig.model_validate(features),
        text=TextConfig(normalizer="basic"),
    )


def randomize(network: Jasper, seed: int = 0) -> Jasper:
    """Give a network statistics, scales and biases that cancel nowhere, and set it to evaluation mode."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, like: torch.Tensor) -> torch.Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv1d):
                bound = 1.7 / (module.weight[0].numel()) ** 0.5
                module.weight.copy_(uniform(-bound, bound, module.weight))
            if isinstance(module, torch.nn.BatchNorm1d):
                module.weight.copy_(uniform(0.7, 1.3, module.weight))
                module.bias.copy_(uniform(-0.3, 0.3, module.bias))
                module.running_mean.copy_(uniform(-0.3, 0.3, module.running_mean))
                module.running_var.copy_(uniform(0.5, 1.5, module.running_var))
        network.head.weight.mul_(6)
        network.head.bias.copy_(uniform(-0.3, 0.3, network.head.bias))
    return network.eval()


def write_small_model(directory: Path, seed: int = 0, **features: object) -> Path:
    """Write a model directory of `small_config` with random weights."""
    config = small_config(**features)
    return write_bundle(directory, config, network_weights(randomize(build_network(config), seed)))


@st.composite
def stacks(draw: st.DrawFn) -> tuple[BlockConfig, ...]:
    """Blocks of every kind; strides and less future only where the configuration allows them."""
    kernel = st.sampled_from([1, 3, 5, 7, 11])
    plain = st.builds(
        BlockConfig,
        filters=st.integers(2, 9),
        kernel=kernel,
        repeat=st.integers(1, 3),
        dilation=st.integers(1, 3),
        dropout=st.just(0.3),
        residual=st.sampled_from(["none", "plain", "dense"]),
        separable=st.booleans(),
        squeeze=st.sampled_from([None, 1, 2]),
        count=st.integers(1, 2),
    )
    strided = st.builds(
        BlockConfig,
        filters=st.integers(2, 9),
        kernel=kernel,
        repeat=st.integers(1, 3),
        stride=st.integers(2, 3),
        residual=st.sampled_from(["none", "plain"]),
        separable=st.booleans(),
        squeeze=st.sampled_from([None, 2]),
    )
    first, last = draw(st.lists(strided, max_size=2)), draw(st.lists(strided, max_size=1))
    blocks = (*first, *draw(st.lists(plain, min_size=1, max_size=4)), *last)
    return tuple(
        block.model_copy(update={"future_context": draw(st.none() | st.integers(0, block.kernel - 1))})
        if block.dilation == 1
        else block
        for block in blocks
    )
