"""Jasper: convolutional CTC speech recognition. `jasper.load(directory).transcribe("a.flac").text`."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jasper.config import Config
    from jasper.convert import convert
    from jasper.data.manifest import read_manifest, write_manifest
    from jasper.errors import JasperError
    from jasper.evaluate import evaluate
    from jasper.export import export
    from jasper.model import Model, load
    from jasper.recipe import load_config
    from jasper.train.merge import average_models
    from jasper.types import Hypothesis, Score, Transcript, Utterance

__version__ = "0.1.0"

# Public name -> the module that has it; imported on first use.
_PUBLIC = {
    "Config": "jasper.config",
    "Hypothesis": "jasper.types",
    "JasperError": "jasper.errors",
    "Model": "jasper.model",
    "Score": "jasper.types",
    "Transcript": "jasper.types",
    "Utterance": "jasper.types",
    "average_models": "jasper.train.merge",
    "convert": "jasper.convert",
    "evaluate": "jasper.evaluate",
    "export": "jasper.export",
    "load": "jasper.model",
    "load_config": "jasper.recipe",
    "read_manifest": "jasper.data.manifest",
    "write_manifest": "jasper.data.manifest",
}

__all__ = [
    "Config",
    "Hypothesis",
    "JasperError",
    "Model",
    "Score",
    "Transcript",
    "Utterance",
    "average_models",
    "convert",
    "evaluate",
    "export",
    "load",
    "load_config",
    "read_manifest",
    "write_manifest",
]


class _Package(ModuleType):
    """Keeps the import of `jasper.export`, say, from putting the module in the place of the function."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jasper' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
