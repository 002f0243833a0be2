"""Random models of the kinds that the toolkits have, for the tests of the converters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_networks import BLOCKS, randomize

from jasper.bundle import read_model_config, read_weights, write_bundle
from jasper.config import BlockConfig, FeatureConfig, ModelConfig, NetworkConfig, SubwordConfig, TextConfig
from jasper.nn.weights import build_network, network_weights

JASPER = BLOCKS
QUARTZNET = (
    BlockConfig(filters=12, kernel=33, stride=2, separable=True),
    BlockConfig(filters=12, kernel=33, repeat=3, residual="plain", separable=True, count=2),
    BlockConfig(filters=16, kernel=39, repeat=2, residual="plain", separable=True),
    BlockConfig(filters=16, kernel=87, dilation=2, separable=True),
    BlockConfig(filters=24, kernel=1),
)
CITRINET = (
    BlockConfig(filters=16, kernel=5, separable=True, squeeze=8),
    BlockConfig(filters=16, kernel=11, repeat=3, stride=2, residual="plain", separable=True, squeeze=8),
    BlockConfig(filters=16, kernel=13, repeat=2, residual="plain", separable=True, squeeze=4),
    BlockConfig(filters=16, kernel=7, stride=2, residual="plain", separable=True, squeeze=8),
    BlockConfig(filters=24, kernel=9, separable=True, squeeze=8),
)
STREAMING = tuple(
    block.model_copy(update={"future_context": future})
    for block, future in zip(CITRINET, (None, 2, 1, 0, 6), strict=True)
)
PIECES = (" ⁇ ", " the", " t", "he", "ing", " ", *"abcdefghijklmnopqrstuvwxyz")
SUBWORDS = TextConfig(
    labels=PIECES,
    normalizer="basic",
    subwords=SubwordConfig(
        algorithm="unigram", scores=tuple(float(np.float32(-0.3 * n)) for n in range(len(PIECES)))
    ),
)


def model_config(
    blocks: tuple[BlockConfig, ...], text: TextConfig | None = None, **features: object
) -> ModelConfig:
    """A model of these blocks, with keywords for its FeatureConfig."""
    return ModelConfig(
        network=NetworkConfig(blocks=blocks),
        features=FeatureConfig.model_validate(features),
        text=text or TextConfig(),
    )


def write_model(directory: Path, config: ModelConfig) -> Path:
    """A model directory with random weights."""
    return write_bundle(directory, config, network_weights(randomize(build_network(config))))


def assert_same_model(first: Path, second: Path) -> None:
    """Same weights bit for bit, same network, front end and text."""
    one, other = read_weights(first), read_weights(second)
    assert list(one) == list(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name, strict=True)
    assert settings_of(first) == settings_of(second)


def settings_of(directory: Path) -> dict[str, object]:
    """A model's settings with the blocks one by one, and without what recognition never sees."""
    config = read_model_config(directory)
    raw = config.model_dump()
    raw["network"]["blocks"] = [
        {**block.model_dump(), "count": 1} for block in config.network.blocks for _ in range(block.count)
    ]
    return raw
