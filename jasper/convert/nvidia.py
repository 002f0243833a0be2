"""NVIDIA DeepLearningExamples Jasper and QuartzNet `.pt` in (with its YAML), a model directory out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jasper.bundle import Weights, write_bundle
from jasper.config import FeatureConfig, ModelConfig, NetworkConfig, TextConfig
from jasper.errors import ConfigError, MissingExtraError, ModelError
from jasper.nn.network import expand
from jasper.nn.weights import build_network, load_weights
from jasper.recipe import parse_config, read_yaml

# Older releases wrote other prefixes; old -> new, with an example of each.
_OLD_PREFIXES = (
    ("jasper_encoder.encoder.", "encoder.layers."),  # jasper_encoder.encoder.0.conv.0.weight
    ("jasper_decoder.decoder_layers.", "decoder.layers."),  # jasper_decoder.decoder_layers.0.bias
)
# Mel filters, computed here: audio_preprocessor.featurizer.fb
_DROPPED_PREFIX = "audio_preprocessor."
# Counters that nothing reads: encoder.layers.0.conv.1.num_batches_tracked
_DROPPED_SUFFIX = ".num_batches_tracked"

_NORM_FIELDS = ("weight", "bias", "running_mean", "running_var")

# What differs from our defaults in that front end.
FEATURES = FeatureConfig(log_offset=1e-20, frame_count="ceil", edges="reflect")


def convert(source: Path, destination: Path, config: Path | None, ema: bool) -> Path:
    """Convert one checkpoint; `config` is NVIDIA's YAML."""
    if config is None:
        raise ConfigError(f"{source}: NVIDIA's checkpoints do not hold the network; give its YAML (--config)")
    model = read_nvidia_config(config)
    foreign = read_state(source, ema)
    weights: Weights = {}
    for ours, theirs in parameter_names(model.network):
        if theirs not in foreign:
            raise ModelError(f"{source}: {theirs} is missing (it becomes {ours})")
        weights[ours] = foreign.pop(theirs)
    if foreign:
        raise ModelError(f"{source}: {len(foreign)} keys have no place, such as {next(iter(foreign))}")
    load_weights(build_network(model), weights, str(source))
    return write_bundle(destination, model, weights)


def read_state(source: Path, ema: bool) -> Weights:
    """Read the weights under the newer names; averaged ones if asked for and there. No pickle runs."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    try:
        checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{source}: not a readable PyTorch checkpoint: {reason}") from None
    state = checkpoint.get("ema_state_dict") if ema and isinstance(checkpoint, dict) else None
    state = state or (checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None)
    if not isinstance(state, dict):
        raise ModelError(f"{source}: has no state_dict")
    weights: Weights = {}
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
            raise ModelError(f"{source}: {key!r} in its state_dict is not a tensor with a name")
        name = key.removeprefix("module.")  # module.encoder.layers.0.conv.0.weight, of parallel training
        for old, new in _OLD_PREFIXES:
            name = name.replace(old, new, 1) if name.startswith(old) else name
        if not name.startswith(_DROPPED_PREFIX) and not name.endswith(_DROPPED_SUFFIX):
            weights[name] = value.detach().float().numpy()
    return weights


def parameter_names(network: NetworkConfig) -> Iterator[tuple[str, str]]:
    """Pairs of our name and NVIDIA's, for every parameter and buffer of the network."""
    num_dense = 0
    for index, block in enumerate(expand(network.blocks)):
        ours, theirs = f"blocks.{index}", f"encoder.layers.{index}"
        place = 0
        for sub in range(block.repeat):
            if block.separable:  # depthwise, pointwise, norm, ReLU, dropout
                yield f"{ours}.convs.{sub}.0.weight", f"{theirs}.conv.{place}.weight"
                place += 1
            pointwise = ".1" if block.separable else ""  # convolution, norm, ReLU, dropout
            yield f"{ours}.convs.{sub}{pointwise}.weight", f"{theirs}.conv.{place}.weight"
            yield from _norm_names(f"{ours}.norms.{sub}", f"{theirs}.conv.{place + 1}")
            place += 4
        num_dense += block.residual == "dense"
        num_sources = {"none": 0, "plain": 1, "dense": num_dense}[block.residual]
        for source in range(num_sources):
            yield f"{ours}.residual_convs.{source}.weight", f"{theirs}.res.{source}.0.weight"
            yield from _norm_names(f"{ours}.residual_norms.{source}", f"{theirs}.res.{source}.1")
    for field in ("weight", "bias"):
        yield f"head.{field}", f"decoder.layers.0.{field}"


def _norm_names(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for field in _NORM_FIELDS:
        yield f"{ours}.{field}", f"{theirs}.{field}"


def read_nvidia_config(path: Path) -> ModelConfig:
    """Read the network and labels from NVIDIA's YAML (the section `jasper` or `quartznet`)."""
    raw = read_yaml(path)
    section = _mapping(raw.get("jasper") or raw.get("quartznet"))
    blocks, labels = _mapping(section.get("encoder")).get("blocks"), raw.get("labels")
    if not isinstance(blocks, list) or not isinstance(labels, list):
        raise ConfigError(f"{path}: not NVIDIA's configuration: needs jasper.encoder.blocks and labels")
    network = {"blocks": [_block(_mapping(block)) for block in blocks]}
    return ModelConfig(
        network=parse_config(NetworkConfig, network, str(path)),
        features=FEATURES,
        text=parse_config(TextConfig, {"labels": labels}, str(path)),
    )


def _block(raw: dict[str, Any]) -> dict[str, Any]:
    residual = "none"
    if raw.get("residual"):
        residual = "dense" if raw.get("residual_dense") else "plain"
    return {
        "filters": raw.get("filters"),
        "kernel": _single(raw.get("kernel_size")),
        "stride": _single(raw.get("stride", 1)),
        "dilation": _single(raw.get("dilation", 1)),
        "repeat": raw.get("repeat", 1),
        "dropout": raw.get("dropout", 0.0),
        "separable": raw.get("separable", False),
        "residual": residual,
    }


def _mapping(value: Any) -> dict[str, Any]:
    """The value, or nothing where it is no mapping."""
    return value if isinstance(value, dict) else {}


def _single(value: Any) -> Any:
    """Their sizes are lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
