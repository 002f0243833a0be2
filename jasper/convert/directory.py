"""A model directory, or a training run's best, in; a model directory out."""

from __future__ import annotations

from pathlib import Path

from jasper.bundle import (
    read_calibration,
    read_model_config,
    read_weights,
    write_bundle,
    write_calibration,
)
from jasper.config import CalibrationConfig
from jasper.convert.checkpoint import Checkpoint
from jasper.directory import find_bundle
from jasper.nn.weights import check_weights, network_shape


def read(path: Path, config: Path | None, ema: bool) -> Checkpoint:
    """Read a model directory, which has its configuration and the weights that were chosen."""
    directory = find_bundle(path)
    checkpoint = Checkpoint(
        read_model_config(directory), read_weights(directory), read_calibration(directory)
    )
    check_weights(network_shape(checkpoint.config), checkpoint.weights, str(directory))
    return checkpoint


def write(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a model directory, whole or not at all."""
    written = write_bundle(path, checkpoint.config, checkpoint.weights)
    if checkpoint.calibration != CalibrationConfig():
        write_calibration(written, checkpoint.calibration)
    return written
