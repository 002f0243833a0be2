"""A model directory in, the graph that a runtime loads out: exported, or made and kept in the cache."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from jasper.bundle import read_model, read_model_config
from jasper.directory import CONFIG_FILE, WEIGHTS_FILE, cache_folder, graph_name, weights_or_graph
from jasper.errors import CheckpointError, ModelError
from jasper.parameters import weight_shapes
from jasper.storage import atomic_file

WRITTEN = 4  # counts the changes of what `build_graph` writes: no older graph is taken from the cache
Kind = Literal["rows", "batch", "phases"]  # rows alone; padded batches; these, even and odd steps apart
_MOST_WEIGHTS = 2**31 / 4 / 1.5 - 2**20  # 2 GB are the most of a file, and phases hold 1.5 times as many
_MODEL = "model"  # the file in a folder that says which model it is of


def engine_folder(directory: Path) -> Path:
    """The folder in the cache of what engines make of a model directory; another one once that has changed.

    Where nothing can be kept (a container without a home) it lasts as long as this process.
    """
    source = weights_or_graph(directory)
    if source is None:
        raise ModelError(f"{directory}: has neither {WEIGHTS_FILE} nor a graph that was exported")
    weights = source.stat()
    content = (directory / CONFIG_FILE).read_bytes()
    content += f"{WRITTEN} {weights.st_size} {weights.st_mtime_ns}".encode()
    place = str(directory.resolve())
    name = "-".join(hashlib.sha256(text).hexdigest()[:12] for text in (place.encode(), content))
    try:
        folder = cache_folder() / "engines" / name
        if not (folder / _MODEL).is_file():
            _delete_outdated(folder, place)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _MODEL).write_text(place, encoding="utf-8")
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home
        pass
    folder = Path(_folder_of_this_process().name, name)
    folder.mkdir(exist_ok=True)
    return folder


def _delete_outdated(current: Path, place: str) -> None:
    """Delete what was made of the model at `place` as it was before, and of models that are gone."""
    for marker in current.parent.glob(f"*/{_MODEL}"):
        model = marker.read_text(encoding="utf-8")
        outdated = model == place or not Path(model, CONFIG_FILE).is_file()
        if outdated and marker.parent != current:  # which another process may just have begun
            shutil.rmtree(marker.parent, ignore_errors=True)


@cache
def _folder_of_this_process() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="jasper-")


def fits_phases(directory: Path) -> bool:
    """Whether a model directory's network may be written in phases, with three quarters of the work."""
    from jasper.graph.phases import first_in_phases

    config = read_model_config(directory)
    num_weights = sum(math.prod(shape) for shape in weight_shapes(config).values())
    return first_in_phases(config.network) is not None and num_weights < _MOST_WEIGHTS


def graph_file(directory: Path, folder: Path, precision: str, kind: Kind) -> Path:
    """The graph of a model directory: for padded batches, or for rows alone.

    int8 is what `jasper export` left in the directory, always for batches; fp16 and fp32 are made in `folder`
    from the weights, or were exported too where there are none. Raises ModelError where a file is not there,
    CheckpointError where the disk is full.
    """
    if precision == "int8" or not (directory / WEIGHTS_FILE).is_file():
        path = directory / graph_name(precision, ".onnx")
        if not path.is_file():
            needs = " --calibrate MANIFEST" if precision == "int8" else ""
            raise ModelError(
                f"{path} is not there; `jasper export {directory} --precision {precision}{needs}` makes it"
            )
        return path
    path = folder / f"{kind}.{precision}.onnx"
    if not path.is_file():
        from jasper.graph import build_graph

        masked, half = kind != "rows", precision == "fp16"
        graph = build_graph(*read_model(directory), masked=masked, half=half, phased=kind == "phases")
        try:
            with atomic_file(path) as temporary:
                temporary.write_bytes(graph.SerializeToString())
        except OSError as error:
            raise CheckpointError(f"{path}: {error}; $XDG_CACHE_HOME says where it is to be") from None
    return path
