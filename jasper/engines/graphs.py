"""A model directory in, the graph that a runtime loads out: exported, or made and kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from jasper.bundle import read_model
from jasper.directory import CONFIG_FILE, WEIGHTS_FILE, cache_folder
from jasper.errors import ModelError
from jasper.storage import atomic_file

WRITTEN = 2  # counts the changes of what `build_graph` writes: no older graph is taken from the cache


def engine_folder(directory: Path) -> Path:
    """The folder in the cache of what engines make of a model directory; another one once that has changed.

    Folders of the same model as it was before are deleted.
    """
    weights = (directory / WEIGHTS_FILE).stat()
    content = (directory / CONFIG_FILE).read_bytes()
    content += f"{WRITTEN} {weights.st_size} {weights.st_mtime_ns}".encode()
    place = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:12]
    folder = cache_folder() / "engines" / f"{place}-{hashlib.sha256(content).hexdigest()[:12]}"
    for older in folder.parent.glob(f"{place}-*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def graph_file(directory: Path, folder: Path, precision: str, *, masked: bool) -> Path:
    """The graph of a model directory: for padded batches, or not `masked` for rows alone.

    int8 is what `jasper export` left in the directory, always masked; fp16 and fp32 are made in `folder` from
    the weights. Raises ModelError where there is no int8 file.
    """
    if precision == "int8":
        path = directory / "model.int8.onnx"
        if not path.is_file():
            raise ModelError(f"{path} is not there; `jasper export {directory} --precision int8` makes it")
        return path
    path = folder / f"{'batch' if masked else 'rows'}.{precision}.onnx"
    if not path.is_file():
        from jasper.graph import build_graph

        graph = build_graph(*read_model(directory), masked=masked, half=precision == "fp16")
        with atomic_file(path) as temporary:
            temporary.write_bytes(graph.SerializeToString())
    return path
