"""The OpenVINO engine: a model directory on a processor, compiled once and kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jasper.bundle import read_model_config
from jasper.config import EngineConfig, ModelConfig
from jasper.directory import INT8_IN_PHASES, WEIGHTS_FILE, graph_name
from jasper.engines.graphs import Kind, engine_folder, fits_phases, graph_file
from jasper.engines.groups import Grouping, run_in_groups
from jasper.errors import ModelError, UnavailableError
from jasper.graph.openvino import core, has_amx
from jasper.types import FloatArray, IntArray

if TYPE_CHECKING:
    import openvino

# A processor with AMX computes in bf16 unless it is told otherwise. What int8 leaves is in single precision.
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
NEEDED = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "FP32"}  # of what a processor can do
# Its kernels for AMX cut the steps into even parts: 401 take twice as long as 400. And every new shape costs
# it time once, so there should be few (docs/results.md, "Inference speed").
GROUPING = Grouping(rows=8, frames=3200, steps=32)


class OpenVinoEngine:
    """Runs a compiled graph, rows of like length together."""

    name = "openvino"

    def __init__(self, config: ModelConfig, compiled: openvino.CompiledModel, precision: str) -> None:
        self.config = config
        self.compiled = compiled
        self.precision = precision
        self._request = compiled.create_infer_request()

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """See `Engine.log_probs`."""
        return run_in_groups(self._run, self.config, GROUPING, features, lengths)

    def _run(self, features: FloatArray, lengths: IntArray) -> FloatArray:
        feed = {"features": features, "lengths": lengths}
        log_probs: FloatArray = self._request.infer(feed, share_inputs=True)["log_probs"]
        return log_probs


def load(directory: Path, settings: EngineConfig) -> OpenVinoEngine:
    """Load a model directory; raises UnavailableError for a device or a precision that is not there."""
    if settings.device not in ("auto", "cpu"):
        raise UnavailableError(f"device {settings.device!r} is not one of OpenVINO's here; take auto or cpu")
    there = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if NEEDED[settings.precision] not in there:
        able = ", ".join(name for name, needed in NEEDED.items() if needed in there)
        raise UnavailableError(f"this processor computes no {settings.precision}; with OpenVINO take {able}")
    options: dict[str, str | int] = {
        "INFERENCE_PRECISION_HINT": HINTS[settings.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if settings.threads:
        options["INFERENCE_NUM_THREADS"] = settings.threads
    folder = engine_folder(directory)
    path = _exported(directory, settings.precision) or _made(directory, folder, settings.precision)
    try:
        compiled = core().compile_model(path, "CPU", {**options, "CACHE_DIR": str(folder)})
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot load it: {error}") from None
    return OpenVinoEngine(read_model_config(directory), compiled, settings.precision)


def _made(directory: Path, folder: Path, precision: str) -> Path:
    """What was made of the weights; in phases where multiplications take nearly all of the time.

    Below single precision AMX does them faster than what is around them.
    """
    if precision == "int8":
        phased = directory / INT8_IN_PHASES
        gains = phased.is_file() and not has_amx()
        return phased if gains else graph_file(directory, folder, "int8", "batch")
    gains = precision == "fp32" or (precision == "bf16" and not has_amx())
    kind: Kind = "phases" if gains and fits_phases(directory) else "batch"
    return graph_file(directory, folder, "fp32", kind)  # it converts to the other ones itself


def _exported(directory: Path, precision: str) -> Path | None:
    """What `jasper export --format openvino` left in a model directory, where it is int8 or all there is."""
    if precision != "int8" and (directory / WEIGHTS_FILE).is_file():
        return None
    stored = ("int8",) if precision == "int8" else (precision, "fp32")
    paths = [directory / graph_name(one, ".xml") for one in stored]
    return next((path for path in paths if path.is_file()), None)
