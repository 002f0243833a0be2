"""Blocks and front ends as NVIDIA's and NeMo's YAML have them, in and out; what ours cannot do is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jasper.config import ENGLISH_LABELS, BlockConfig, FeatureConfig
from jasper.errors import ConfigError

Raw = Mapping[str, Any]

# Their name of a block's setting -> ours. The kernel's name differs between the two toolkits.
_BLOCK_KEYS = {
    "filters": "filters",
    "kernel": "kernel",
    "kernel_size": "kernel",
    "repeat": "repeat",
    "stride": "stride",
    "dilation": "dilation",
    "dropout": "dropout",
    "separable": "separable",
}
# Settings of a block with the values that ours has. The context of squeeze-and-excitation matters in training
# alone: in recognition NeMo takes all of the utterance.
_BLOCK_LIMITS: dict[str, tuple[Any, ...]] = {
    "groups": (1,),
    "heads": (-1,),
    "normalization": ("batch",),
    "norm_groups": (-1, 1),
    "residual_mode": ("add", "stride_add"),
}
_BLOCK_READ = {
    "residual", "residual_dense", "kernel_size_factor", "se", "se_reduction_ratio", "stride_last",
    "future_context",
}  # fmt: skip
_BLOCK_WITHOUT_EFFECT = {"se_context_size", "se_context_window", "se_interpolation_mode"}

# Their name of a front end's setting -> ours, where the value is the same.
_FEATURE_KEYS = {
    "sample_rate": "sample_rate",
    "features": "num_mels",
    "n_filt": "num_mels",
    "lowfreq": "fmin",
    "highfreq": "fmax",
    "preemph": "preemphasis",
    "dither": "dither",
    "mag_power": "power",
    "mel_norm": "mel_norm",
    "log_zero_guard_type": "log_guard",
    "log_zero_guard_value": "log_offset",
    "log": "log",
    "exact_pad": "exact_pad",
    "frame_splicing": "frame_splicing",
}
_FEATURE_LIMITS: dict[str, tuple[Any, ...]] = {"int_values": (False,), "use_grads": (False,)}
_FEATURE_READ = {
    "window", "window_size", "window_stride", "n_window_size", "n_window_stride", "n_fft", "normalize",
}  # fmt: skip
# Padding, which the masks undo; augmentation; and what newer releases of NeMo ignore themselves.
_FEATURE_WITHOUT_EFFECT = {
    "_target_", "pad_to", "pad_value", "pad_align", "pad_to_max_duration", "max_duration", "spec_augment",
    "cutout_augment", "rng", "nb_augmentation_prob", "nb_max_freq", "use_torchaudio", "stft_conv",
    "stft_exact_pad", "params",
}  # fmt: skip
_MAX_SAMPLES = 1_000_000_000
# The smallest numbers of float32, by the names that NeMo has for them.
_GUARDS = {"tiny": 2.0**-126, "eps": 2.0**-23}


def read_block(raw: Raw, source: str) -> dict[str, Any]:
    """One of their blocks as the raw form of a BlockConfig. Raises ConfigError for what ours cannot be."""
    known = {*_BLOCK_KEYS, *_BLOCK_READ, *_BLOCK_WITHOUT_EFFECT}
    check_settings(raw, _BLOCK_LIMITS, known, f"{source}: a block")
    block = {ours: _single(raw[theirs]) for theirs, ours in _BLOCK_KEYS.items() if theirs in raw}
    block.setdefault("repeat", 1)
    if "kernel_size_factor" in raw:
        # Narrowed and rounded up to an odd number, as NeMo does.
        factor = _number(raw["kernel_size_factor"], source)
        kernel = max(int(_number(_number(block.get("kernel"), source) * factor, source)), 1)
        block["kernel"] = kernel + 1 - kernel % 2
    future = _number(raw.get("future_context", -1), source)
    if 0 <= future < _number(block.get("kernel"), source):  # beyond its kernel NeMo pads both sides alike
        block["future_context"] = future
    if raw.get("residual"):
        block["residual"] = "dense" if raw.get("residual_dense") else "plain"
    if raw.get("se"):
        block["squeeze"] = raw.get("se_reduction_ratio", 8)
    if block.get("stride", 1) != 1 and block["repeat"] != 1 and not raw.get("stride_last"):
        raise ConfigError(f"{source}: a block strides in each of its sub-blocks, not in the last alone")
    return block


def write_block(block: BlockConfig, kernel: str) -> dict[str, Any]:
    """Our block with their keys; `kernel` is what they call the kernel."""
    raw: dict[str, Any] = {
        "filters": block.filters,
        "repeat": block.repeat,
        kernel: [block.kernel],
        "stride": [block.stride],
        "dilation": [block.dilation],
        "dropout": block.dropout,
        "residual": block.residual != "none",
        "residual_dense": block.residual == "dense",
    }
    if block.separable:  # NVIDIA's Jasper does not know the word
        raw["separable"] = True
    if block.squeeze:
        raw |= {"se": True, "se_reduction_ratio": block.squeeze, "se_context_size": -1}
    if block.future_context is not None:
        raw["future_context"] = block.future_context
    if block.stride > 1 and is_citrinets(block):
        raw |= {"stride_last": True, "residual_mode": "stride_add"}
    return raw


def is_citrinets(block: BlockConfig) -> bool:
    """Whether it has squeeze-and-excitation, less future, or a stride beside convolutions, as Citrinet's."""
    beside = block.repeat > 1 or block.residual != "none"
    own = block.squeeze is not None or block.future_context is not None
    return own or (block.stride > 1 and beside)


def read_front_end(raw: Raw, base: FeatureConfig, source: str) -> dict[str, Any]:
    """Their front end's settings over `base`, as the raw form of a FeatureConfig."""
    known = {*_FEATURE_KEYS, *_FEATURE_READ, *_FEATURE_WITHOUT_EFFECT}
    check_settings(raw, _FEATURE_LIMITS, known, f"{source}: the front end")
    same = {ours: raw[theirs] for theirs, ours in _FEATURE_KEYS.items() if theirs in raw}
    settings = {**base.model_dump(), **same}
    rate = _number(settings["sample_rate"], source)
    if rate <= 0:
        raise ConfigError(f"{source}: sample_rate is {rate}")
    window = _samples(raw.get("n_window_size"), raw.get("window_size"), 0.02 * rate, rate, source)
    hop = _samples(raw.get("n_window_stride"), raw.get("window_stride"), 0.01 * rate, rate, source)
    settings["window_ms"], settings["hop_ms"] = 1000 * window / rate, 1000 * hop / rate
    settings["n_fft"] = raw.get("n_fft") or 2 ** max(0, math.ceil(math.log2(max(window, 1))))
    kind = raw.get("window", base.window)
    settings["window"] = "rectangular" if kind in (None, "none") else kind
    settings |= _normalization(raw.get("normalize", base.normalize))
    if raw.get("exact_pad") and raw.get("preemph") == 0:
        raise ConfigError(f"{source}: exact_pad with preemph 0 silences the end of the wave; null does not")
    settings["preemphasis"] = settings["preemphasis"] or 0.0
    settings["exact_pad"] = settings["exact_pad"] or False
    settings["frame_splicing"] = settings["frame_splicing"] or 1
    settings["fmax"] = settings["fmax"] or None
    settings["mel_norm"] = settings["mel_norm"] or "none"
    offset = settings["log_offset"]
    settings["log_offset"] = _GUARDS.get(offset, offset) if isinstance(offset, str) else offset
    return settings


def write_front_end(features: FeatureConfig, num_mels: str) -> dict[str, Any]:
    """The settings that both toolkits have; `num_mels` is what they call the number of filters."""
    return {
        "sample_rate": features.sample_rate,
        "window_size": _seconds(features.window_length, features.sample_rate),
        "window_stride": _seconds(features.hop_length, features.sample_rate),
        "window": "none" if features.window == "rectangular" else features.window,
        "n_fft": features.n_fft,
        num_mels: features.num_mels,
        "normalize": features.normalize,
        "preemph": features.preemphasis or None,
        "lowfreq": features.fmin,
        "highfreq": features.fmax,
        "dither": features.dither,
        "frame_splicing": features.frame_splicing,
    }


def _normalization(value: Any) -> dict[str, Any]:
    """What they normalise by: the utterance's numbers, two lists, or nothing where the name is another."""
    if isinstance(value, dict) and {"fixed_mean", "fixed_std"} <= value.keys():
        return {"normalize": "fixed", "fixed_mean": value["fixed_mean"], "fixed_std": value["fixed_std"]}
    return {"normalize": value if value in ("per_feature", "all_features") else "none"}


def check_settings(raw: Raw, limits: Mapping[str, tuple[Any, ...]], known: set[str], source: str) -> None:
    """Raise ConfigError for a key that nothing here knows, and for a value that ours cannot have."""
    for key, value in raw.items():
        if key in limits and value not in limits[key] and value is not None:
            raise ConfigError(f"{source} has {key} = {value!r:.40}; here it can only be {limits[key][0]!r}")
        if key not in limits and key not in known:
            raise ConfigError(f"{source} has a setting that is unknown here: {key} = {value!r:.40}")


def normalizer_for(labels: Sequence[Any]) -> str:
    """The normaliser whose texts such labels can spell."""
    letters = set("".join(map(str, labels)))
    if letters <= set(ENGLISH_LABELS):
        return "english"
    if any(letter.isupper() for letter in letters):
        return "none"
    plain = all(letter.isalnum() or letter in " '⁇" for letter in letters)
    return "basic" if plain else "lower"


def mapping(value: Any) -> dict[str, Any]:
    """The value, or nothing where it is no mapping."""
    return value if isinstance(value, dict) else {}


def _single(value: Any) -> Any:
    """Their sizes are lists of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _samples(count: Any, seconds: Any, default: float, rate: float, source: str) -> int:
    """A length in samples, cut off as both toolkits do, from a count or else from seconds."""
    samples = _number(count, source) if count else _number(seconds, source) * rate if seconds else default
    if samples > _MAX_SAMPLES:
        raise ConfigError(f"{source}: a window or its step is of {samples:,.0f} samples")
    return int(samples)


def _number(value: Any, source: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{source}: {value!r:.40} is no number")
    return number


def _seconds(num_samples: int, rate: int) -> float:
    """Seconds of which they make the same number of samples again, by cutting off the fraction."""
    seconds = num_samples / rate
    return seconds if int(seconds * rate) == num_samples else math.nextafter(seconds, math.inf)
