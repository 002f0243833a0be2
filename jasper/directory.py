"""Where models are: a path in, the model directory that is meant out; and the folder of what is cached."""

from __future__ import annotations

import os
from pathlib import Path

from jasper.errors import ModelError

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
CALIBRATION_FILE = "calibration.yaml"
INT8_IN_PHASES = "model.int8.phases.onnx"  # the same as `model.int8.onnx`, even and odd steps apart


def find_bundle(path: str | Path) -> Path:
    """The model directory at `path`: itself, or `best`, then `last`, inside a training run.

    In place of its weights it may have the files of `jasper export`, which engines run as well.
    """
    directory = Path(path)
    for candidate in (directory, directory / "best", directory / "last"):
        if (candidate / CONFIG_FILE).is_file() and weights_or_graph(candidate) is not None:
            return candidate
    what = "is not a directory" if not directory.is_dir() else f"has no {CONFIG_FILE} and {WEIGHTS_FILE}"
    raise ModelError(f"{path}: {what}; a model is a directory made by `jasper train` or `jasper convert`")


def weights_or_graph(directory: Path) -> Path | None:
    """The weights of a model directory or, where they were left out, a graph exported from them."""
    weights = directory / WEIGHTS_FILE
    if weights.is_file():
        return weights
    return min((path for path in directory.glob("model*") if path.suffix in (".onnx", ".xml")), default=None)


def graph_name(precision: str, ending: str, *, waveform: bool = False) -> str:
    """What an exported graph is called: `model.onnx`, `model.int8.xml`, `model.waveform.fp16.onnx`."""
    parts = ["model", *(["waveform"] if waveform else []), *([precision] if precision != "fp32" else [])]
    return ".".join(parts) + ending


def cache_folder() -> Path:
    """Where fetched models and compiled graphs are kept, after the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jasper"
