"""A configuration and a time in, the number of epochs that fit out, by training a few steps for trial."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jasper.config import Config
from jasper.data.selection import read_training
from jasper.train import train
from jasper.train.log import read_log, say
from jasper.train.order import epoch_order

_WARM, _STEPS = 20, 50  # the first steps are slower: memory, workers and kernels have to be found


def epochs_in(config: Config, duration: float) -> float:
    """Epochs of training that fit in `duration` seconds on this machine."""
    say(f"training {_STEPS} steps for trial, to choose the number of epochs")
    with tempfile.TemporaryDirectory(prefix="jasper-trial-") as folder:
        settings = {"out": Path(folder), "max_steps": _STEPS, "log_steps": 10, "epochs": 1000}
        trial = config.model_copy(
            update={
                "train": config.train.model_copy(update=settings),
                "data": config.data.model_copy(update={"dev": ()}),
            }
        )
        train(trial, resume=False)
        times: dict[int, float] = {row["step"]: row["time"] for row in read_log(Path(folder) / "log.jsonl")}
    seconds = (times[_STEPS] - times[_WARM]) / (_STEPS - _WARM)
    _, steps = epoch_order(read_training(config).utterances, config, 0)
    return duration / (seconds * len(steps))
