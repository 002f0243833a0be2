"""A model directory: `config.yaml`, `model.safetensors` and, once measured, `calibration.yaml`, read and
written, whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasper.config import CalibrationConfig, ModelConfig
from jasper.directory import CALIBRATION_FILE, CONFIG_FILE, WEIGHTS_FILE
from jasper.errors import CheckpointError, ModelError
from jasper.parameters import weight_shapes
from jasper.recipe import dump_yaml, parse_config, read_yaml
from jasper.storage import atomic_file

Weights = dict[str, NDArray[Any]]


def read_model_config(directory: Path) -> ModelConfig:
    """Read the configuration of a model directory."""
    return parse_config(ModelConfig, read_yaml(directory / CONFIG_FILE), str(directory / CONFIG_FILE))


def read_calibration(directory: Path) -> CalibrationConfig:
    """Read what a model directory keeps of its calibration; without any, what changes nothing."""
    path = directory / CALIBRATION_FILE
    raw = read_yaml(path) if path.is_file() else {}
    return parse_config(CalibrationConfig, raw, str(path))


def write_calibration(directory: Path, calibration: CalibrationConfig) -> Path:
    """Write the calibration of the weights in a model directory; nothing else in it is touched.

    `write_bundle` leaves none behind: it is not of other weights. Raises CheckpointError, with an older
    calibration as it was, when it cannot be written.
    """
    path = directory / CALIBRATION_FILE
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(dump_yaml(calibration), encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def read_weights(directory: Path) -> Weights:
    """Read the weights of a model directory, by name."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = directory / WEIGHTS_FILE
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from None


def read_model(directory: Path) -> tuple[ModelConfig, Weights]:
    """Read a model directory whole; raises ModelError for weights that are not of its network."""
    config, weights = read_model_config(directory), read_weights(directory)
    check_shapes(weight_shapes(config), weights, str(directory / WEIGHTS_FILE))
    return config, weights


def stored_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a model directory, from the header of the file alone."""
    from safetensors import SafetensorError, safe_open

    path = directory / WEIGHTS_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from None


def check_shapes(expected: Mapping[str, tuple[int, ...]], weights: Weights, source: str) -> None:
    """Raise ModelError that names what is missing, extra or misshapen among weights, at most five of them."""
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{name} is unknown" for name in weights if name not in expected]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ModelError(f"{source}: {'; '.join(faults[:5])}{more}")


def write_bundle(directory: str | Path, config: ModelConfig, weights: Mapping[str, NDArray[Any]]) -> Path:
    """Write a model directory beside its final place and move it there; an older one is replaced.

    Raises CheckpointError, with what was there untouched, when it cannot be written or when what is there
    is no model directory.
    """
    from safetensors.numpy import save_file

    target = Path(directory).absolute()
    if target.exists() and not _replaceable(target):
        raise CheckpointError(f"{directory}: there is something else than a model; choose another place")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        (temporary / CONFIG_FILE).write_text(dump_yaml(config), encoding="utf-8")
        contiguous = {name: np.asarray(value, order="C") for name, value in weights.items()}
        with atomic_file(temporary / WEIGHTS_FILE) as path:
            save_file(contiguous, path)
        if target.exists():
            old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
            target.rename(old)
            try:
                temporary.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(target)
    except Exception as error:
        # safetensors has its own error type for a full disk.
        raise CheckpointError(f"{target}: the model could not be written: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Path(directory)


def _replaceable(target: Path) -> bool:
    """Whether nothing but a model would be lost: the folder is one, or empty."""
    return target.is_dir() and ((target / WEIGHTS_FILE).is_file() or not any(target.iterdir()))
