"""Training state in, files out and back; a damaged newest file falls back to the one before."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jasper.errors import CheckpointError
from jasper.storage import atomic_file

FORMAT = 3
_NAME = re.compile(r"step-(\d{9})\.(pt|npz)")  # PyTorch's, and NumPy arrays for every other engine

State = dict[str, Any]


def save_checkpoint(directory: Path, state: State, step: int, keep: int, ending: str = ".pt") -> Path:
    """Write the state of a step and remove all but it and the `keep - 1` before it.

    Those of later steps go too: only damaged ones can be there, and they would outlive every good one.
    Raises CheckpointError when it cannot be written; the older ones are untouched then.
    """
    path = _path(directory, step, ending)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            _write(temporary, {"format": FORMAT, "step": step, **state})
        present = list_checkpoints(directory)
        kept = [other for other in present if other.name <= path.name][:keep]
        for other in set(present) - set(kept):
            other.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise CheckpointError(f"{path}: the checkpoint could not be written: {error}") from None
    return path


def load_checkpoint(directory: Path, warn: Callable[[str], None], ending: str = ".pt") -> State | None:
    """Read the newest checkpoint that is whole; None when there is none at all.

    Raises CheckpointError when there are some but none can be read, or another engine wrote them.
    """
    paths = list_checkpoints(directory)
    if paths and paths[0].suffix != ending:
        raise CheckpointError(f"{paths[0]} is of another train.engine; choose another train.out")
    for path in paths:
        try:
            return read_whole(path)
        except CheckpointError as error:
            warn(f"{error}; falling back to the checkpoint before it")
    if paths:
        raise CheckpointError(
            f"{directory}: none of {len(paths)} checkpoints can be read; remove them to start anew"
        )
    return None


def read_checkpoint(directory: Path, step: int, ending: str = ".pt") -> State:
    """Read the checkpoint of a step that another rank has found to be whole. Raises CheckpointError."""
    path = _path(directory, step, ending)
    try:
        return _read(path)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read here, but by the first rank ({type(error).__name__}); "
            "train.out must be a directory that all machines share"
        ) from None


def _path(directory: Path, step: int, ending: str) -> Path:
    return directory / f"step-{step:09d}{ending}"


def read_whole(path: Path) -> State:
    """Read a checkpoint, checksums compared. CheckpointError when it is damaged or of another format."""
    try:
        _check_sums(path)
        state = _read(path)
        if state["format"] == FORMAT:
            return state
        reason = f"has format {state['format']}, this version reads {FORMAT}"
    except Exception as error:
        reason = f"is damaged ({type(error).__name__})"
    raise CheckpointError(f"{path} {reason}")


def _write(path: Path, state: State) -> None:
    if ".npz" not in path.name:
        import torch

        torch.save(state, path)
        return
    groups = {key: value for key, value in state.items() if _is_arrays(value)}
    arrays = {f"{key}/{name}": array for key, group in groups.items() for name, array in group.items()}
    rest = json.dumps({key: value for key, value in state.items() if key not in groups})
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, rest=np.array(rest))


def _read(path: Path) -> State:
    if path.suffix == ".pt":
        import torch

        return dict(torch.load(path, map_location="cpu", weights_only=True))
    state: State = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            group, _, name = key.partition("/")
            if name:
                state.setdefault(group, {})[name] = file[key]
        return {**state, **json.loads(str(file["rest"]))}


def _is_arrays(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(item, np.ndarray) for item in value.values())


def _check_sums(path: Path) -> None:
    """Compare the checksums in the archive with its bytes: PyTorch writes them but reads past them."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints, newest first."""
    return sorted((p for p in directory.glob("step-*.*") if _NAME.fullmatch(p.name)), reverse=True)
