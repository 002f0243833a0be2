"""NeMo's `model_config.yaml` of a convolutional CTC model in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jasper.config import FeatureConfig, ModelConfig, NetworkConfig, TextConfig, expand
from jasper.convert.sentencepiece import read_model as read_pieces
from jasper.convert.settings import (
    check_settings,
    mapping,
    normalizer_for,
    read_block,
    read_front_end,
    write_block,
    write_front_end,
)
from jasper.errors import ConfigError, ModelError
from jasper.recipe import parse_config

TOKENIZER_FILE, VOCABULARY_FILE = "tokenizer.model", "vocab.txt"

# What no setting of that front end changes (release 2.7; older ones reflected the wave at its edges).
NEMO_FIXED: dict[str, Any] = {"frame_count": "floor", "edges": "zeros"}

_ENCODER_LIMITS: dict[str, tuple[Any, ...]] = {
    "activation": ("relu",),
    "normalization_mode": ("batch",),
    "residual_mode": ("add", "stride_add"),
    "quantize": (False,),
}
_ENCODER_KNOWN = {
    "_target_", "cls", "params", "jasper", "feat_in", "frame_splicing", "norm_groups", "conv_mask",
    "init_mode",
}  # fmt: skip
# NeMo wants a list of the pieces beside SentencePiece's model.
_TOKENIZER = {
    "dir": "",
    "type": "bpe",
    "model_path": f"nemo:{TOKENIZER_FILE}",
    "vocab_path": f"nemo:{VOCABULARY_FILE}",
}
_MODULES = "nemo.collections.asr.modules."


def read_model(raw: Any, members: Mapping[str, bytes], source: str) -> ModelConfig:
    """The model of a configuration; `members` are the archive's files, the tokenizer among them.

    Raises ModelError for another kind of model, ConfigError for settings that ours cannot have.
    """
    raw = _resolve(mapping(raw), mapping(raw))
    encoder = _section(raw, "encoder", "ConvASREncoder", source)
    decoder = _section(raw, "decoder", "ConvASRDecoder", source)
    front_end = _section(raw, "preprocessor", "AudioToMelSpectrogramPreprocessor", source)
    check_settings(encoder, _ENCODER_LIMITS, _ENCODER_KNOWN, f"{source}: the encoder")
    blocks = encoder.get("jasper")
    blocks = blocks if isinstance(blocks, list) else []
    network = {"blocks": [read_block(mapping(block), source) for block in blocks]}
    raw_features = read_front_end(front_end, FeatureConfig(**NEMO_FIXED), source)
    features = parse_config(FeatureConfig, raw_features, source)
    if features.n_fft % 2:
        raise ConfigError(f"{source}: n_fft is {features.n_fft}; NeMo counts frames of odd ones otherwise")
    return ModelConfig(
        network=parse_config(NetworkConfig, network, source),
        features=features,
        text=_read_text(raw, decoder, members, source),
    )


def write_model(model: ModelConfig) -> dict[str, Any]:
    """The configuration from which NeMo restores a model: no data, no optimizer."""
    blocks, features, labels = expand(model.network.blocks), model.features, model.text.labels
    front_end = {
        "_target_": f"{_MODULES}AudioToMelSpectrogramPreprocessor",
        **write_front_end(features, "features"),
        "log_zero_guard_type": features.log_guard,
        "log_zero_guard_value": features.log_offset,
        "mag_power": features.power,
        "mel_norm": None if features.mel_norm == "none" else features.mel_norm,
        "log": features.log,
        "exact_pad": features.exact_pad,
        "pad_to": 16,
    }
    if features.normalize == "fixed":
        numbers = {"fixed_mean": features.fixed_mean, "fixed_std": features.fixed_std}
        front_end["normalize"] = {name: list(values or ()) for name, values in numbers.items()}
    encoder = {
        "_target_": f"{_MODULES}ConvASREncoder",
        "feat_in": features.num_features,
        "activation": "relu",
        "conv_mask": True,
        "jasper": [write_block(block, "kernel") for block in blocks],
    }
    decoder = {
        "_target_": f"{_MODULES}ConvASRDecoder",
        "feat_in": blocks[-1].filters,
        "num_classes": len(labels),
        "vocabulary": list(labels),
    }
    subwords = model.text.subwords
    target = "ctc_bpe_models.EncDecCTCModelBPE" if subwords else "ctc_models.EncDecCTCModel"
    return {
        "target": f"nemo.collections.asr.models.{target}",
        "sample_rate": features.sample_rate,
        **({"tokenizer": _TOKENIZER} if subwords else {}),
        "preprocessor": front_end,
        "encoder": encoder,
        "decoder": decoder,
        **({} if subwords else {"labels": list(labels)}),
    }


def _read_text(
    raw: dict[str, Any], decoder: dict[str, Any], members: Mapping[str, bytes], source: str
) -> TextConfig:
    tokenizer = mapping(raw.get("tokenizer"))
    if not tokenizer:
        labels = decoder.get("vocabulary") or raw.get("labels")
        normalizer = normalizer_for(labels) if isinstance(labels, list) else "none"
        return parse_config(TextConfig, {"labels": labels, "normalizer": normalizer}, source)
    if tokenizer.get("type") != "bpe":
        raise ModelError(
            f"{source}: its tokenizer is a {tokenizer.get('type')!r}; only SentencePiece's is known"
        )
    name = str(tokenizer.get("model_path", "")).removeprefix("nemo:")
    if name not in members:  # older releases kept the path of the machine that trained
        name = next((member for member in members if member.endswith(TOKENIZER_FILE)), name)
    if name not in members:
        raise ModelError(f"{source}: the tokenizer {name!r} is not in the archive")
    return read_pieces(members[name], f"{source}: {name}")


def _section(raw: dict[str, Any], key: str, kind: str, source: str) -> dict[str, Any]:
    """A module's settings, which older releases had one level down."""
    section = mapping(raw.get(key))
    found = str(section.get("_target_") or section.get("cls") or "nothing").rpartition(".")[2]
    if found != kind:
        raise ModelError(f"{source}: its {key} is {found}; only models with {kind} can be converted")
    return mapping(section["params"]) if "params" in section else section


def _resolve(value: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """Put values in place of references such as ${model.model_defaults.repeat}."""
    if isinstance(value, dict):
        return {key: _resolve(item, root, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, root, depth) for item in value]
    reference = re.fullmatch(r"\$\{(?:model\.)?([\w.]+)\}", value) if isinstance(value, str) else None
    if reference is None or depth > 8:
        return value
    target: Any = root
    for key in reference[1].split("."):
        target = mapping(target).get(key)
    return _resolve(target, root, depth + 1)
