"""A model directory or a preset's name in, what there is to know about it out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jasper.bundle import read_model_config, weight_shapes
from jasper.config import ModelConfig
from jasper.directory import find_bundle
from jasper.errors import MissingExtraError
from jasper.recipe import load_config, presets


def model_info(model: str | Path) -> dict[str, Any]:
    """Describe a model directory or, where there is none of that name, a preset.

    Keys: name, parameters, labels, normalizer, sample_rate, features, stride, step_ms (of one output step),
    blocks. Raises ModelError for what is neither, MissingExtraError for a preset without PyTorch.
    """
    if str(model) in presets() and not Path(model).is_dir():
        config = load_config(model).model
        parameters = _count_parameters(config)
    else:
        directory = find_bundle(model)
        config = read_model_config(directory)
        shapes = weight_shapes(directory)
        parameters = sum(math.prod(shape) for name, shape in shapes.items() if "running_" not in name)
    features = config.features
    return {
        "name": str(model),
        "parameters": parameters,
        "labels": list(config.text.labels),
        "normalizer": config.text.normalizer,
        "sample_rate": features.sample_rate,
        "stride": config.network.stride,
        "step_ms": config.network.stride * features.hop_ms,
        "features": features.model_dump(exclude_none=True),
        "blocks": [block.model_dump() for block in config.network.blocks],
    }


def _count_parameters(config: ModelConfig) -> int:
    """Build the network without memory for its weights, and count."""
    try:
        import torch

        from jasper.nn.weights import build_network
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(config).parameters())
