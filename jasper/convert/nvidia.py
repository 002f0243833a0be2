"""NVIDIA DeepLearningExamples Jasper and QuartzNet `.pt` in and out, with its YAML where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jasper.bundle import Weights
from jasper.convert.checkpoint import (
    Checkpoint,
    Rule,
    from_shared,
    open_checkpoint,
    rename,
    to_shared,
    warn_of_front_end,
)
from jasper.convert.nvidia_yaml import NVIDIA_FIXED, read_or_infer, write_config
from jasper.convert.settings import is_citrinets
from jasper.convert.torch_file import import_torch, load, named_tensors
from jasper.errors import ModelError
from jasper.storage import atomic_file

_RULES: tuple[Rule, ...] = (
    (r"^module\.", ""),  # module.encoder.layers.0.conv.0.weight, of parallel training
    # The names of releases before 2020
    (r"^jasper_encoder\.encoder\.", "encoder.layers."),  # jasper_encoder.encoder.0.conv.0.weight
    (r"^jasper_decoder\.decoder_layers\.", "decoder.layers."),  # jasper_decoder.decoder_layers.0.bias
    (r"^(encoder\.layers\.\d+)\.mconv\.", r"\1.conv."),  # encoder.layers.0.mconv.0.weight, of QuartzNet
    # Mel filters, computed here; copies of older releases
    (r"^(audio_preprocessor|acoustic_model)\.", None),  # audio_preprocessor.featurizer.fb
)


def read(path: Path, config: Path | None, ema: bool) -> Checkpoint:
    """Read a `.pt`; without `config` (NVIDIA's YAML, or ours) the network is read from the shapes."""
    shared = _read_state(path, ema)
    return from_shared(read_or_infer(config, shared, str(path)), shared, str(path))


def write(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a `.pt` that NVIDIA's inference loads, with or without `--ema`, and its YAML beside it.

    Raises ModelError for squeeze-and-excitation and strided residuals, which NVIDIA's code has not; warns
    of a front end that it cannot have.
    """
    torch = import_torch()
    blocks, text = checkpoint.config.network.blocks, checkpoint.config.text
    if text.subwords or any(map(is_citrinets, blocks)):
        raise ModelError(f"{path}: NVIDIA's code has no subwords and none of Citrinet's blocks")
    warn_of_front_end(checkpoint.config.features, NVIDIA_FIXED, "NVIDIA")
    raw = write_config(checkpoint.config)
    state = {}
    for name, value in to_shared(checkpoint).items():
        their_name = name.replace(".conv.", ".mconv.") if "quartznet" in raw else name
        state[their_name] = torch.from_numpy(np.array(value))
        if name.endswith(".running_var"):
            state[their_name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    content: dict[str, Any] = {"epoch": 0, "step": 0, "state_dict": state, "ema_state_dict": state}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
    with atomic_file(path.with_suffix(".yaml")) as temporary:
        temporary.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _read_state(path: Path, ema: bool) -> Weights:
    """The weights under shared names; averaged ones if asked for and there."""
    with open_checkpoint(path) as file:
        content = load(file, str(path))
    content = content if isinstance(content, dict) else {}
    state = (content.get("ema_state_dict") if ema else None) or content.get("state_dict")
    if not isinstance(state, dict):
        raise ModelError(f"{path}: has no state_dict")
    tensors = named_tensors(state, str(path))
    names = rename(list(tensors), _RULES, str(path))
    return {new: tensors[name] for name, new in names.items()}
