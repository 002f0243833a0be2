"""Training state in, files out and back; a damaged newest file falls back to the one before."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jasper.errors import CheckpointError
from jasper.storage import atomic_file

FORMAT = 3
_NAME = re.compile(r"step-(\d{9})\.pt")

State = dict[str, Any]


def save_checkpoint(directory: Path, state: State, step: int, keep: int) -> Path:
    """Write the state of a step and remove all but it and the `keep - 1` before it.

    Those of later steps go too: only damaged ones can be there, and they would outlive every good one.
    Raises CheckpointError when it cannot be written; the older ones are untouched then.
    """
    path = _path(directory, step)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            torch.save({"format": FORMAT, "step": step, **state}, temporary)
        present = list_checkpoints(directory)
        kept = [other for other in present if other.name <= path.name][:keep]
        for other in set(present) - set(kept):
            other.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise CheckpointError(f"{path}: the checkpoint could not be written: {error}") from None
    return path


def load_checkpoint(directory: Path, warn: Callable[[str], None]) -> State | None:
    """Read the newest checkpoint that is whole; None when there is none at all.

    Raises CheckpointError when there are some but none can be read.
    """
    paths = list_checkpoints(directory)
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


def read_checkpoint(directory: Path, step: int) -> State:
    """Read the checkpoint of a step that another rank has found to be whole. Raises CheckpointError."""
    path = _path(directory, step)
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read here, but by the first rank ({type(error).__name__}); "
            "train.out must be a directory that all machines share"
        ) from None


def _path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:09d}.pt"


def read_whole(path: Path) -> State:
    """Read a checkpoint, checksums compared. CheckpointError when it is damaged or of another format."""
    try:
        _check_sums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] == FORMAT:
            return dict(state)
        reason = f"has format {state['format']}, this version reads {FORMAT}"
    except Exception as error:
        reason = f"is damaged ({type(error).__name__})"
    raise CheckpointError(f"{path} {reason}")


def _check_sums(path: Path) -> None:
    """Compare the checksums in the archive with its bytes: PyTorch writes them but reads past them."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints, newest first."""
    return sorted((p for p in directory.glob("step-*.pt") if _NAME.fullmatch(p.name)), reverse=True)
