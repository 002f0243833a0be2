"""Shapes of weights in, the network that has them out: for checkpoints that came without a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jasper.config import ENGLISH_LABELS, FeatureConfig, ModelConfig, NetworkConfig, TextConfig
from jasper.errors import ConfigError
from jasper.recipe import parse_config

Shapes = Mapping[str, tuple[int, ...]]  # by shared name, see `jasper.convert.checkpoint`


def model_from_shapes(shapes: Shapes, features: FeatureConfig, source: str) -> ModelConfig:
    """The model whose weights have these shapes: Jasper or QuartzNet, with English letters.

    Shapes tell neither stride nor dilation: they are taken as the published networks have them, stride 2 in
    the first block and dilation 2 in the last but one. Raises ConfigError for networks of another form and
    for other labels than the 28 English ones: these need the configuration.
    """
    blocks = _blocks(shapes)
    head = shapes.get("decoder.layers.0.weight", (0,))
    fault = ""
    if len(blocks) < 3 or any(blocks[index]["residual"] != "none" for index in (0, -2, -1)):
        fault = "the network does not have the form of Jasper and QuartzNet, so its strides are unknown"
    elif head[0] != len(ENGLISH_LABELS) + 1:
        fault = f"it has {head[0]} classes, so its labels are unknown"
    if fault:
        raise ConfigError(f"{source}: {fault}; give its configuration (--config)")
    blocks[0]["stride"] = 2
    blocks[-2]["dilation"] = 2
    network = parse_config(NetworkConfig, {"blocks": blocks}, source)
    num_mels = shapes["encoder.layers.0.conv.0.weight"][0 if network.blocks[0].separable else 1]
    return ModelConfig(
        network=network, features=features.model_copy(update={"num_mels": num_mels}), text=TextConfig()
    )


def _blocks(shapes: Shapes) -> list[dict[str, Any]]:
    """The blocks in order, up to the first that is missing."""
    blocks: list[dict[str, Any]] = []
    sources: list[int] = []
    while len(shapes.get(f"encoder.layers.{len(blocks)}.conv.0.weight", ())) == 3:
        start = f"encoder.layers.{len(blocks)}."
        inner = {name.removeprefix(start): shape for name, shape in shapes.items() if name.startswith(start)}
        convs = [s for name, s in inner.items() if name.startswith("conv.") and len(s) == 3]
        first, second = inner["conv.0.weight"], inner.get("conv.1.weight", ())
        separable = len(second) == 3
        blocks.append(
            {
                "filters": (second if separable else first)[0],
                "kernel": first[-1],
                "repeat": len(convs) // (2 if separable else 1),
                "separable": separable,
                "residual": "none",
            }
        )
        sources.append(sum(name.startswith("res.") and len(shape) == 3 for name, shape in inner.items()))
    # The first residual block has one source, dense or not; the later ones tell.
    kind = "dense" if max(sources, default=0) > 1 else "plain"
    for block, number in zip(blocks, sources, strict=True):
        block["residual"] = kind if number else "none"
    return blocks
