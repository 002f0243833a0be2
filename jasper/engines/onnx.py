"""The ONNX Runtime engine: a model directory on a processor, or on an accelerator that its provider knows."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from jasper.bundle import read_model_config
from jasper.config import EngineConfig, ModelConfig
from jasper.engines.graphs import Kind, engine_folder, fits_phases, graph_file
from jasper.engines.groups import Grouping, run_in_groups
from jasper.errors import ModelError, UnavailableError
from jasper.types import FloatArray, IntArray

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "npu": "CANNExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}
BY_ROW = Grouping()  # a processor gains nothing from a batch


class OnnxEngine:
    """Runs a graph row by row on a processor, batch by batch on an accelerator."""

    name = "onnx"

    def __init__(self, config: ModelConfig, session: onnxruntime.InferenceSession, precision: str) -> None:
        self.config = config
        self.session = session
        self.precision = precision
        self._inputs = [node.name for node in session.get_inputs()]
        self._by_row = session.get_providers()[0] == PROVIDERS["cpu"]

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """See `Engine.log_probs`."""
        if self._by_row:
            return run_in_groups(self._run, self.config, BY_ROW, features, lengths)
        return self._run(features, lengths), self.config.network.num_steps(lengths)

    def _run(self, features: FloatArray, lengths: IntArray) -> FloatArray:
        given = {"features": features, "lengths": lengths}
        feed = {name: given[name] for name in self._inputs}
        log_probs: FloatArray = self.session.run(["log_probs"], feed)[0]
        return log_probs


def load(directory: Path, settings: EngineConfig) -> OnnxEngine:
    """Load a model directory; raises UnavailableError for a device that is not there."""
    device = "cpu" if settings.device == "auto" else settings.device
    available = onnxruntime.get_available_providers()
    if PROVIDERS.get(device) not in available:
        known = ", ".join(name for name, provider in PROVIDERS.items() if provider in available)
        raise UnavailableError(
            f"device {device!r} is not available to ONNX Runtime here; it has auto, {known}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads or 0  # 0: it decides
    options.log_severity_level = 3  # errors alone
    kind: Kind = "batch"
    if device == "cpu":
        kind = "phases" if settings.precision == "fp32" and fits_phases(directory) else "rows"
    path = graph_file(directory, engine_folder(directory), settings.precision, kind)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[PROVIDERS[device]])
    except Exception as error:  # its errors have no common type of their own
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {error}") from None
    return OnnxEngine(read_model_config(directory), session, settings.precision)
