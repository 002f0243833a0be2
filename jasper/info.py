"""A model directory or a preset's name in, what there is to know about it out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jasper.bundle import read_calibration, read_model_config, stored_shapes
from jasper.config import CalibrationConfig
from jasper.directory import find_bundle
from jasper.parameters import weight_shapes
from jasper.recipe import load_config, presets


def model_info(model: str | Path) -> dict[str, Any]:
    """Describe a model directory or, where there is none of that name, a preset.

    Keys: name, parameters, labels, normalizer, sample_rate, features, stride, step_ms (of one output step),
    blocks, calibration. Raises ModelError for what is neither.
    """
    if str(model) in presets() and not Path(model).is_dir():
        config = load_config(model).model
        shapes = weight_shapes(config)
        calibration = CalibrationConfig()
    else:
        directory = find_bundle(model)
        config = read_model_config(directory)
        shapes = stored_shapes(directory)
        calibration = read_calibration(directory)
    features = config.features
    return {
        "name": str(model),
        "parameters": sum(math.prod(shape) for name, shape in shapes.items() if "running_" not in name),
        "labels": list(config.text.labels),
        "normalizer": config.text.normalizer,
        "sample_rate": features.sample_rate,
        "stride": config.network.stride,
        "step_ms": config.network.stride * features.hop_ms,
        "features": features.model_dump(exclude_none=True),
        "blocks": [block.model_dump() for block in config.network.blocks],
        "calibration": calibration.model_dump(),
    }
