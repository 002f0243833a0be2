"""A configuration and seeds in, a run for each and what they have in common out: mean and deviation."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jasper.config import Config
from jasper.errors import CheckpointError, ConfigError
from jasper.report import write_seeds_report
from jasper.storage import atomic_file
from jasper.train.log import read_log, say
from jasper.train.loop import TrainResult, train

MEASURES = ("dev_wer", "dev_cer", "dev_loss")  # of the best model of a run


@dataclass(frozen=True, slots=True)
class SeedsResult:
    """The runs in the order of their seeds, and their folder."""

    directory: Path
    runs: dict[int, TrainResult]

    def rows(self) -> list[dict[str, Any]]:
        """A row a seed: seed, directory, step and, where there is a dev set, `MEASURES` of the best model."""
        rows = []
        for seed, run in self.runs.items():
            row = {"seed": seed, "directory": str(run.directory), "step": run.step}
            if run.best is not None:
                row |= {"dev_wer": run.best.wer, "dev_cer": run.best.cer, "dev_loss": run.best.loss}
            rows.append(row)
        return rows

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean and standard deviation (of a sample: n - 1; NaN for one seed) of each measure."""
        found = {}
        for measure in MEASURES:
            values = [row[measure] for row in self.rows() if measure in row]
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else math.nan
                found[measure] = {"mean": statistics.fmean(values), "deviation": deviation}
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"directory": str(self.directory), "runs": self.rows(), "summary": self.summary()}


def parse_seeds(text: str) -> list[int]:
    """`0,1,5` are those seeds, `3` is the first three. Raises ConfigError."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--seeds {text}: give seeds as 0,1,2 or the number of them as 3")
    seeds = [*map(int, parts)]
    if len(parts) == 1:
        seeds = [*range(seeds[0])]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: give at least one seed, and each once")
    return seeds


def train_seeds(config: Config, seeds: Sequence[int], *, resume: bool = True) -> SeedsResult:
    """Train once a seed, one after the other, in `seed-0`, `seed-1`, … of `config.train.out`.

    A run that is finished is not made again, one that was cut goes on. Leaves `seeds.json` and `seeds.html`
    there. Raises what `train` raises.
    """
    out = config.train.out
    runs = {}
    for seed in seeds:
        own = config.train.model_copy(update={"seed": seed, "out": out / f"seed-{seed}"})
        say(f"seed {seed}: {own.out}")
        runs[seed] = train(config.model_copy(update={"train": own}), resume=resume)
    result = SeedsResult(out, runs)
    _write(result)
    return result


def _write(result: SeedsResult) -> None:
    # JSON has no NaN, which is the deviation of one seed.
    text = json.dumps(result.as_dict(), indent=1).replace("NaN", "null")
    curves = {f"seed {seed}": read_log(run.directory / "log.jsonl") for seed, run in result.runs.items()}
    try:
        with atomic_file(result.directory / "seeds.json") as path:
            path.write_text(text + "\n", encoding="utf-8")
        title = f"{len(result.runs)} seeds in {result.directory}"
        write_seeds_report(result.directory / "seeds.html", title, result.rows(), result.summary(), curves)
    except OSError as error:
        raise CheckpointError(f"{result.directory}: the report cannot be written: {error}") from None
