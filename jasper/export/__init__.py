"""A model directory in, a file for another runtime out: whole, checked if asked for, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jasper.bundle import Weights, read_model
from jasper.config import ModelConfig
from jasper.directory import INT8_IN_PHASES, find_bundle, graph_name
from jasper.errors import CheckpointError, ModelError
from jasper.export.source import Source
from jasper.storage import try_place

if TYPE_CHECKING:
    from jasper.export.quantize import Int8Plan

# name -> module with `ENDING`, `PRECISIONS`, `write(path, source) -> files` and `run(path, source, inputs)`.
FORMATS = {
    "onnx": "jasper.export.onnx",
    "openvino": "jasper.export.openvino",
    "torch": "jasper.export.torch",
    "mindir": "jasper.export.mindir",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the file to load, all `files` with it, how far a check found it to be off, and what
    int8 is in it."""

    path: Path
    files: tuple[Path, ...]
    difference: float | None = None
    int8: Int8Plan | None = None


def export(
    model: str | Path,
    format: str = "onnx",
    *,
    precision: str = "fp32",
    waveform: bool = False,
    check: bool = False,
    calibrate: str | Path | None = None,
    out: str | Path | None = None,
) -> Exported:
    """Write the network of a model directory for another runtime.

    `format` is a name of `FORMATS`, `precision` fp32, bf16, fp16 or int8; with `waveform` the file takes
    waves in place of features. int8 is calibrated on the manifest `calibrate`. Without `out` the file is
    `model…` in the model directory. `check` runs it before it takes its place.
    Raises ModelError for what a format cannot do and where the check finds too large a difference,
    CheckpointError where it cannot be written; what was there before is untouched then.
    """
    if format not in FORMATS:
        raise ModelError(f"format {format!r} is unknown; known are {', '.join(FORMATS)}")
    writer = import_module(FORMATS[format])
    if precision not in writer.PRECISIONS:
        raise ModelError(f"format {format} has no {precision}; it has {', '.join(writer.PRECISIONS)}")
    if calibrate is not None and precision != "int8":
        raise ModelError(f"--calibrate: is for --precision int8, not {precision}")
    directory = find_bundle(model)
    target = Path(out) if out else directory / graph_name(precision, writer.ENDING, waveform=waveform)
    if target.suffix != writer.ENDING:
        raise ModelError(f"--out {target}: a file of format {format} ends in {writer.ENDING}")
    _check_place(target)
    config, weights = read_model(directory)
    int8 = _plan_int8(config, weights, calibrate) if precision == "int8" else None
    source = Source(config, weights, precision, waveform, int8)
    with (
        _writing(target),
        TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as folder,
    ):
        files: Sequence[Path] = writer.write(Path(folder, target.name), source)
        graphs = [file for file in files if file.suffix == writer.ENDING]
        difference = max(_check(writer.run, file, source) for file in graphs) if check else None
        if target.name == graph_name("int8", ".onnx"):  # or what was before it would go on being taken
            target.with_name(INT8_IN_PHASES).unlink(missing_ok=True)
        for file in reversed(files):  # the one that is loaded last, when what it needs is there
            with file.open("rb") as written:
                os.fsync(written.fileno())
            place = target.parent / file.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)
    places = tuple(target.parent / file.relative_to(folder) for file in files)
    return Exported(target, places, difference, int8)


def _check_place(target: Path) -> None:
    """Before the work, which takes minutes for int8; raises CheckpointError where nothing can be written."""
    with _writing(target):
        try_place(target)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{target}: could not be written: {error.strerror or error}") from None


def _plan_int8(config: ModelConfig, weights: Weights, calibrate: str | Path | None) -> Int8Plan:
    from jasper.data.manifest import read_manifest
    from jasper.export.quantize import calibration_features, plan_int8

    if calibrate is None:
        raise ModelError("int8 is calibrated on speech; name a manifest of some with --calibrate")
    return plan_int8(config, weights, calibration_features(config, read_manifest(calibrate)))


def _check(run: Callable[..., Any], path: Path, source: Source) -> float:
    from jasper.export.check import check_file

    return check_file(run, path, source)
