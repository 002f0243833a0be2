"""A path in, the model directory that is meant out: itself, or the best or last one of a training run."""

from __future__ import annotations

from pathlib import Path

from jasper.errors import ModelError

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"


def find_bundle(path: str | Path) -> Path:
    """The model directory at `path`: itself, or `best`, then `last`, inside a training run."""
    directory = Path(path)
    for candidate in (directory, directory / "best", directory / "last"):
        if (candidate / WEIGHTS_FILE).is_file() and (candidate / CONFIG_FILE).is_file():
            return candidate
    what = "is not a directory" if not directory.is_dir() else f"has no {CONFIG_FILE} and {WEIGHTS_FILE}"
    raise ModelError(f"{path}: {what}; a model is a directory made by `jasper train` or `jasper convert`")
