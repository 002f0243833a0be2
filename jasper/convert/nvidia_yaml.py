"""The YAML of NVIDIA's Jasper and QuartzNet, which the model zoo shares, in and out; or ours, in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jasper.bundle import Weights
from jasper.config import FeatureConfig, ModelConfig, NetworkConfig, TextConfig, expand
from jasper.convert.settings import (
    check_settings,
    mapping,
    normalizer_for,
    read_block,
    read_front_end,
    write_block,
    write_front_end,
)
from jasper.convert.shapes import model_from_shapes
from jasper.errors import ConfigError
from jasper.recipe import load_config, parse_config, read_yaml

# What no setting of that front end changes.
NVIDIA_FIXED: dict[str, Any] = {
    "log_offset": 1e-20,
    "log_guard": "add",
    "frame_count": "ceil",
    "edges": "reflect",
    "power": 2.0,
    "mel_norm": "slaney",
    "log": True,
    "exact_pad": False,
    "frame_splicing": 1,
    "fixed_mean": None,
}
NVIDIA_FEATURES = FeatureConfig(**NVIDIA_FIXED)

_ENCODER_LIMITS: dict[str, tuple[Any, ...]] = {"activation": ("relu",), "frame_splicing": (1,)}
_ENCODER_KNOWN = {"blocks", "in_feats", "init", "weight_init", "use_conv_masks"}


def read_or_infer(config: Path | None, weights: Weights, source: str) -> ModelConfig:
    """The model of a YAML; without one what the shapes of the weights tell, under shared names."""
    if config:
        return read_config(config)
    shapes = {name: value.shape for name, value in weights.items()}
    return model_from_shapes(shapes, NVIDIA_FEATURES, source)


def read_config(path: Path) -> ModelConfig:
    """Read a model from NVIDIA's YAML (section `jasper` or `quartznet`), or from a recipe of ours."""
    raw = read_yaml(path)
    if "network" in raw or "extends" in raw:
        return load_config(path).model
    encoder = mapping(mapping(raw.get("jasper") or raw.get("quartznet")).get("encoder"))
    blocks, labels = encoder.get("blocks"), raw.get("labels")
    if not isinstance(blocks, list) or not isinstance(labels, list):
        raise ConfigError(f"{path}: not NVIDIA's configuration: needs jasper.encoder.blocks and labels")
    source = str(path)
    check_settings(encoder, _ENCODER_LIMITS, _ENCODER_KNOWN, f"{source}: the encoder")
    network = {"blocks": [read_block(mapping(block), source) for block in blocks]}
    base = NVIDIA_FEATURES.model_copy(update={"num_mels": encoder.get("in_feats", NVIDIA_FEATURES.num_mels)})
    front_end = mapping(mapping(raw.get("input_val")).get("filterbank_features"))
    return ModelConfig(
        network=parse_config(NetworkConfig, network, source),
        features=parse_config(FeatureConfig, read_front_end(front_end, base, source), source),
        text=parse_config(TextConfig, {"labels": labels, "normalizer": normalizer_for(labels)}, source),
    )


def write_config(model: ModelConfig) -> dict[str, Any]:
    """NVIDIA's configuration of a model: what its `inference.py` reads, and the front end of training."""
    blocks = expand(model.network.blocks)
    name = "QuartzNet" if any(block.separable for block in blocks) else "Jasper"
    front_end = {**write_front_end(model.features, "n_filt"), "pad_align": 16}
    encoder = {
        "init": "xavier_uniform",
        "in_feats": model.features.num_features,
        "frame_splicing": 1,
        "activation": "relu",
        "use_conv_masks": True,
        "blocks": [write_block(block, "kernel_size") for block in blocks],
    }
    audio = {"sample_rate": model.features.sample_rate, "trim_silence": False, "normalize_transcripts": True}
    inputs = {"audio_dataset": audio, "filterbank_features": front_end}
    return {
        "name": name,
        "labels": list(model.text.labels),
        "input_val": inputs,
        "input_train": inputs,
        name.lower(): {
            "encoder": encoder,
            "decoder": {"in_feats": blocks[-1].filters, "init": "xavier_uniform"},
        },
    }
