"""Checkpoints and model directories in, one model directory with the mean of their weights out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from jasper.bundle import Weights, read_model_config, write_bundle
from jasper.config import Config, ModelConfig
from jasper.directory import CONFIG_FILE, find_bundle
from jasper.errors import CheckpointError, ConfigError, ModelError
from jasper.nn.weights import build_network, check_weights, load_network, network_shape, network_weights
from jasper.recipe import parse_config, read_yaml
from jasper.train.checkpoint import list_checkpoints, read_whole
from jasper.train.log import read_log
from jasper.train.start import first_difference, other_features

Kind = Literal["average", "network"]


@dataclass(frozen=True, slots=True)
class Source:
    """One model to be averaged: a model directory, or a checkpoint file of a run."""

    path: Path
    config: ModelConfig

    def weights(self, kind: Kind) -> Weights:
        """Its weights; of a checkpoint the moving average or the network that was in training."""
        if self.path.is_dir():
            return network_weights(load_network(self.path))
        state = read_whole(self.path)
        if self.path.suffix == ".npz":  # MindSpore's: weights as a model directory has them
            weights: Weights = state[kind]
            check_weights(network_shape(self.config), weights, str(self.path))
            return weights
        with torch.device("meta"):
            network = build_network(self.config)
        try:
            network.load_state_dict(state[kind], assign=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path}: not of its run's network: {' '.join(str(error).split())}"
            ) from None
        return network_weights(network)


def average_models(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    last: int | None = None,
    best: int | None = None,
    kind: Kind = "average",
) -> Path:
    """Write to `out` a model whose weights and batch-norm statistics are the mean, in float64, of several.

    A source is a model directory, a checkpoint file, or a training run: that stands for all its checkpoints,
    its `last` ones, or the `best` by dev WER. `kind` says which weights of a checkpoint count. Raises
    ModelError where networks, features or labels differ, CheckpointError where one cannot be read, and
    ConfigError where a run has not as many as are asked for.
    """
    models = [model for source in sources for model in _models(Path(source), last, best)]
    for model in models[1:]:
        _check_alike(model, models[0])
    total: Weights = {}
    for model in models:  # one at a time: they may be large
        for name, value in model.weights(kind).items():
            total[name] = total.get(name, 0.0) + value.astype(np.float64)
    mean = {name: (value / len(models)).astype(np.float32) for name, value in total.items()}
    return write_bundle(out, models[0].config, mean)


def _models(source: Path, last: int | None, best: int | None) -> list[Source]:
    if source.is_file():
        return [Source(source, _run_config(source.parent.parent))]
    checkpoints = list_checkpoints(source / "checkpoints")
    if not checkpoints:
        directory = find_bundle(source)
        return [Source(directory, read_model_config(directory))]
    if best is not None:
        checkpoints = _by_dev_wer(source, checkpoints)
    wanted = best or last or len(checkpoints)
    if len(checkpoints) < wanted:
        scored = "with a dev WER " if best else ""
        raise ConfigError(
            f"{source}: {wanted} checkpoints {scored}are wanted, there are {len(checkpoints)}; "
            "train.keep is how many a run keeps"
        )
    return [Source(path, _run_config(source)) for path in checkpoints[:wanted]]


def _by_dev_wer(run: Path, checkpoints: Sequence[Path]) -> list[Path]:
    """The checkpoints that were scored, lowest dev WER first."""
    scores = {row["step"]: row["dev_wer"] for row in read_log(run / "log.jsonl") if "dev_wer" in row}
    steps = {path: int(path.stem.removeprefix("step-")) for path in checkpoints}
    return sorted((path for path in checkpoints if steps[path] in scores), key=lambda p: scores[steps[p]])


def _run_config(run: Path) -> ModelConfig:
    path = run / CONFIG_FILE
    return parse_config(Config, read_yaml(path), str(path)).model


def _check_alike(model: Source, first: Source) -> None:
    own, other = model.config, first.config
    difference = first_difference(own, other) or "; ".join(other_features(own, other))
    if not difference and own.text.labels != other.text.labels:
        difference = f"its labels are {''.join(own.text.labels)!r}, not {''.join(other.text.labels)!r}"
    if not difference and own.text.subwords != other.text.subwords:
        difference = "its text is not cut into subwords"
    if difference:
        raise ModelError(f"{model.path}: {difference} as in {first.path}; the mean of both would be no model")
