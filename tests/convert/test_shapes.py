"""Networks read from the shapes of their weights, against the configurations that made them."""

from __future__ import annotations

import pytest
from foreign_models import CITRINET, JASPER, QUARTZNET, model_config

from jasper.config import NetworkConfig, expand
from jasper.convert.checkpoint import parameter_names
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES, read_config
from jasper.convert.shapes import model_from_shapes
from jasper.errors import ConfigError
from jasper.nn.weights import model_state, network_shape
from jasper.recipe import load_config


def shapes_of(config) -> dict[str, tuple[int, ...]]:
    state = model_state(network_shape(config))
    return {theirs: tuple(state[ours].shape) for ours, theirs in parameter_names(config.network)}


def without_dropout(network: NetworkConfig) -> list[object]:
    return [block.model_copy(update={"dropout": 0.0, "count": 1}) for block in expand(network.blocks)]


@pytest.mark.parametrize("preset", ["jasper10x5dr", "jasper5x3", "quartznet15x5", "quartznet5x5"])
def test_a_published_network_is_read_whole(preset):
    config = load_config(preset).model
    found = model_from_shapes(shapes_of(config), NVIDIA_FEATURES, "x.pt")
    assert without_dropout(found.network) == without_dropout(config.network)
    assert (found.features.num_mels, found.text.labels) == (64, config.text.labels)


def test_the_golden_network_is_that_of_its_yaml(golden):
    config = read_config(golden / "nvidia_jasper.yaml")
    found = model_from_shapes(shapes_of(config), NVIDIA_FEATURES, "x.pt")
    assert without_dropout(found.network) == without_dropout(config.network)


def test_the_number_of_features_is_read():
    found = model_from_shapes(shapes_of(model_config(QUARTZNET, num_mels=40)), NVIDIA_FEATURES, "x.pt")
    assert found.features.num_mels == 40


@pytest.mark.parametrize("blocks", [CITRINET, JASPER[:2], JASPER[:3]])
def test_a_network_whose_strides_cannot_be_known_is_an_error(blocks):
    with pytest.raises(ConfigError, match=r"strides are unknown.*--config"):
        model_from_shapes(shapes_of(model_config(blocks)), NVIDIA_FEATURES, "x.pt")


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"encoder.layers.0.conv.0.weight": ()},
        {"encoder.layers.0.conv.0.weight": (3,), "decoder.layers.0.weight": ()},
        {"encoder.layers.0.conv.0.weight": (0, 0, 0), "encoder.layers.0.conv.1.weight": (0, 1, 2)},
    ],
)
def test_shapes_of_anything_else_are_an_error(shapes):
    with pytest.raises(ConfigError, match=r"x\.pt"):
        model_from_shapes(shapes, NVIDIA_FEATURES, "x.pt")
