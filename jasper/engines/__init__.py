"""Engines run a model directory: `features, lengths -> log_probs, lengths`, NumPy on both sides."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from jasper.errors import ModelError
from jasper.types import FloatArray, IntArray


class Engine(Protocol):
    """Whatever can run a network."""

    name: str

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """Map features (B, num_mels, T), lengths (B,) to log_probs (B, T', V), lengths (B,)."""
        ...


# name -> (module, function `(directory, device) -> Engine`); the first that is installed is `auto`.
ENGINES: dict[str, tuple[str, str]] = {
    "torch": ("jasper.engines.torch", "load"),
    "mindspore": ("jasper.engines.mindspore", "load"),
}


def load_engine(directory: Path, engine: str = "auto", device: str = "auto") -> Engine:
    """Load a model directory into an engine by name; `auto` takes the first that is installed."""
    if engine != "auto" and engine not in ENGINES:
        raise ModelError(f"engine {engine!r} is unknown; known are auto, {', '.join(ENGINES)}")
    names = list(ENGINES) if engine == "auto" else [engine]
    missing: ImportError | None = None
    for name in names:
        module, function = ENGINES[name]
        try:
            load: Callable[[Path, str], Engine] = getattr(import_module(module), function)
        except ImportError as error:
            missing = error
            continue
        return load(directory, device)
    raise ModelError(f"no engine is installed ({missing}); run: pip install 'jasper-asr[torch]'")
