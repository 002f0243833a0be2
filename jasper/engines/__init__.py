"""Engines run a model directory: `features, lengths -> log_probs, lengths`, NumPy on both sides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

from jasper.config import EngineConfig
from jasper.directory import WEIGHTS_FILE
from jasper.errors import ModelError, UnavailableError
from jasper.types import BestPath, FloatArray, IntArray


class Engine(Protocol):
    """Whatever can run a network."""

    name: str
    precision: str  # what it computes in: fp32, bf16, fp16 or int8

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """Map features (B, num_features, T), lengths (B,) to log_probs (B, T', V), lengths (B,)."""
        ...


@runtime_checkable
class BestPathEngine(Engine, Protocol):
    """An engine that finds the best path where the network ran: of T' × V numbers, 4 T' leave the device."""

    def best_path(self, features: FloatArray, lengths: IntArray, blank: int) -> tuple[BestPath, IntArray]:
        """Map features, lengths to the best path (B, T') of what `log_probs` gives, and lengths (B,)."""
        ...


# name -> (module, function `(directory, settings) -> Engine`), as `auto` tries them after its favourite.
ENGINES: dict[str, tuple[str, str]] = {
    "openvino": ("jasper.engines.openvino", "load"),
    "onnx": ("jasper.engines.onnx", "load"),
    "torch": ("jasper.engines.torch", "load"),
    "mindspore": ("jasper.engines.mindspore", "load"),
}
PRECISIONS = {
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "onnx": ("fp32", "fp16", "int8"),
    "torch": ("fp32", "bf16", "fp16"),
    "mindspore": ("fp32",),
}


def load_engine(directory: Path, settings: EngineConfig | None = None) -> Engine:
    """Load a model directory into an engine.

    `auto` is the fastest that is installed and has the precision: PyTorch if a device is asked for that is
    not the processor, or if there is an accelerator; ONNX Runtime in fp32, else OpenVINO (docs/results.md).
    What this machine cannot do by one engine is left to the next.
    """
    settings = settings or EngineConfig()
    missing: dict[str, ImportError] = {}
    unavailable: UnavailableError | None = None
    names = candidates(settings)
    if settings.engine == "auto" and not _has_onnx(directory):
        names.sort(key=lambda name: name == "onnx")  # of an exported directory only OpenVINO's graph is left
    for name in names:
        module, function = ENGINES[name]
        try:
            load: Callable[[Path, EngineConfig], Engine] = getattr(import_module(module), function)
        except ImportError as error:
            missing[name] = error
            continue
        try:
            return load(directory, settings)
        except UnavailableError as error:
            unavailable = unavailable or error
    preferred = names[0]
    if unavailable is not None and preferred not in missing:
        raise unavailable
    raise ModelError(
        f"engine {preferred} is not installed ({missing[preferred]}); "
        f"run: pip install 'jasper-asr[{preferred}]'"
    )


def candidates(settings: EngineConfig) -> list[str]:
    """Names of engines that may do what is asked, the preferred one first."""
    name, precision = settings.engine, settings.precision
    able = [engine for engine in ENGINES if precision in PRECISIONS[engine]]
    if name == "auto":
        elsewhere = _has_accelerator() if settings.device == "auto" else settings.device != "cpu"
        fastest = "torch" if elsewhere else "onnx" if precision == "fp32" else "openvino"
        return sorted(able, key=lambda engine: engine != fastest)
    if name not in ENGINES:
        raise ModelError(f"engine {name!r} is unknown; known are auto, {', '.join(ENGINES)}")
    if name not in able:
        raise ModelError(f"engine {name} computes no {precision}; take {', '.join(PRECISIONS[name])}")
    return [name]


def _has_onnx(directory: Path) -> bool:
    """Whether ONNX Runtime has something to run: weights, from which its graph is made, or a graph."""
    return (directory / WEIGHTS_FILE).is_file() or any(directory.glob("model*.onnx"))


def _has_accelerator() -> bool:
    """Whether a device of PyTorch's may be here, found without loading PyTorch, which takes seconds."""
    nodes = ("/dev/nvidia0", "/dev/davinci0", "/dev/dxg")  # CUDA, Ascend, CUDA under Windows
    return sys.platform == "darwin" or any(Path(node).exists() for node in nodes)
