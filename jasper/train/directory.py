"""A run directory: the files that a training leaves, beside those of `RunLog`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from jasper.bundle import Weights, write_bundle
from jasper.config import Config, ModelConfig
from jasper.data.selection import Selection
from jasper.errors import CheckpointError
from jasper.recipe import dump_yaml
from jasper.storage import atomic_file


class RunDirectory:
    """`config.yaml`, `refused.jsonl`, `checkpoints/` and the model directories `best/` and `last/`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def prepare(self, config: Config, selection: Selection, resume: bool) -> None:
        """Write the resolved configuration and the refused utterances; without resume, clear older results.

        Raises CheckpointError when it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._remove_temporary()
            if not resume:
                self._remove_results()
            with atomic_file(self.path / "config.yaml") as path:
                path.write_text(dump_yaml(config), encoding="utf-8")
            _write_refused(self.path / "refused.jsonl", selection)
        except OSError as error:
            raise CheckpointError(f"{self.path}: the run directory cannot be written: {error}") from None

    def save_model(self, name: str, config: ModelConfig, weights: Weights) -> Path:
        """Write weights as the model directory `name` of the run."""
        return write_bundle(self.path / name, config, weights)

    def _remove_temporary(self) -> None:
        """Remove what a process that was killed while it wrote has left."""
        for folder in (self.path, self.checkpoints):
            for left in folder.glob(".*.tmp"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _remove_results(self) -> None:
        for old in ("log.jsonl", "run.json"):
            (self.path / old).unlink(missing_ok=True)
        for old in ("checkpoints", "best", "last", "tensorboard"):
            shutil.rmtree(self.path / old, ignore_errors=True)


def _write_refused(destination: Path, selection: Selection) -> None:
    with atomic_file(destination) as path, path.open("w", encoding="utf-8") as file:
        for refused in selection.refused:
            row = {"id": refused.utterance.id, "kind": refused.kind, "reason": refused.reason}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
