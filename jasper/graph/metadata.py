"""A model's configuration in, the strings that travel inside an exported file out; and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from jasper.config import ModelConfig
from jasper.errors import ModelError
from jasper.recipe import parse_config

CONFIG_KEY = "jasper_config"


def write_metadata(config: ModelConfig, precision: str) -> dict[str, str]:
    """Describe a model: all of its configuration as JSON, and in plain words what a program in another
    language needs to feed it and to spell what it says.

    `vocab_size`, `subsampling_factor` and `normalize_type` are named as sherpa-onnx's loader of NeMo's CTC
    models reads them.
    """
    features = config.features
    return {
        CONFIG_KEY: config.model_dump_json(exclude_none=True),
        "labels": json.dumps(config.text.labels, ensure_ascii=False),
        "blank": str(len(config.text.labels)),
        "precision": precision,
        "sample_rate": str(features.sample_rate),
        "window_ms": f"{features.window_ms:g}",
        "hop_ms": f"{features.hop_ms:g}",
        "num_mels": str(features.num_features),
        "step_ms": f"{features.hop_ms * config.network.stride:g}",
        "model_type": "EncDecCTCModel",
        "vocab_size": str(len(config.text.labels) + 1),
        "subsampling_factor": str(config.network.stride),
        "normalize_type": "" if features.normalize == "none" else features.normalize,
    }


def read_metadata(metadata: Mapping[str, str], source: str) -> ModelConfig:
    """The configuration inside an exported file; raises ModelError where there is none."""
    if CONFIG_KEY not in metadata:
        raise ModelError(f"{source}: was not written by `jasper export`: it has no {CONFIG_KEY}")
    return parse_config(ModelConfig, json.loads(metadata[CONFIG_KEY]), source)
