"""A recipe in; what data costs a training out: startup, padding, and seconds of audio a second of one core.

python benchmarks/loader.py [--lines N] RECIPE [key=value]...

With --lines it measures startup alone, on a manifest of that many lines: those of `data.train` repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from threadpoolctl import threadpool_limits

from jasper.config import Config
from jasper.data.augment import speed_factors
from jasper.data.dataset import TrainingSet
from jasper.data.selection import read_training
from jasper.data.table import durations_of, ids_of
from jasper.recipe import load_config
from jasper.train.order import epoch_order
from jasper.types import Utterance

SECONDS = 10.0  # of the core's time, for each measurement


def main() -> None:
    """Print startup, padding, and the loader's rate without and with features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lines", type=int, help="measure startup alone, on a manifest of that many lines")
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    config = load_config(arguments.recipe, arguments.overrides)
    if arguments.lines is None:
        utterances, batches = _startup(config)
        _loader(config, utterances, batches)
        return
    with tempfile.TemporaryDirectory() as folder:
        manifest = _lengthened(config, arguments.lines, Path(folder))
        _startup(load_config(arguments.recipe, [*arguments.overrides, f"data.train=[{manifest}]"]))


def _lengthened(config: Config, lines: int, folder: Path) -> Path:
    """A manifest of so many lines, each with an id, a path and a duration of its own."""
    manifest = folder / "manifest.jsonl"
    texts = [Path(path).read_text(encoding="utf-8") for path in config.data.train]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    with manifest.open("w", encoding="utf-8") as file:
        for number, row in enumerate(islice(cycle(rows), lines)):
            own = {
                "id": f"{row['id']}-{number}",
                "audio_filepath": f"/data/part-{number // 1000}/{row['audio_filepath']}",
                "duration": round(row["duration"] + number % 7 / 1000, 3),
            }
            file.write(json.dumps({**row, **own}) + "\n")
    return manifest


def _startup(config: Config) -> tuple[Sequence[Utterance], list[list[int]]]:
    """Print what it takes to come to the first batch, and the padding; return the first epoch."""
    imports = _peak_mb()
    began, cpu = time.perf_counter(), time.process_time()
    selection = read_training(config)
    utterances, steps = epoch_order(selection.utterances, config, 0)
    batches = [batch for step in steps for batch in step]
    first = [utterances[index] for index in batches[0]]
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(selection.summary())
    print(
        f"startup: {wall:.2f} s, {cpu:.2f} s of one core, to a first batch of {len(first)}; "
        f"peak {_peak_mb():.0f} MB, of which imports {imports:.0f} MB"
    )
    speeds = speed_factors(config.augment, config.train.seed, 0, ids_of(utterances))
    seconds = durations_of(utterances) / speeds
    held = sum(len(batch) * seconds[batch].max() for batch in batches)
    print(f"padding: {1 - seconds.sum() / held:.2%} of {len(batches)} batches")
    return utterances, batches


def _loader(config: Config, utterances: Sequence[Utterance], batches: list[list[int]]) -> None:
    """Print seconds of audio a second of one core."""
    for with_features in (False, True):
        training_set = TrainingSet(config, with_features)
        rate = _rate(training_set, [[utterances[i] for i in batch] for batch in batches[:64]])
        print(f"loader {'with' if with_features else 'without'} features: {rate:.0f} times real time a core")


def _rate(training_set: TrainingSet, batches: list[list]) -> float:
    """Seconds of audio made in a second of this process's time."""
    audio, began = 0.0, time.process_time()
    with threadpool_limits(1):
        for batch in batches:
            audio += float(training_set.batch(batch, 0).lengths.sum())
            if time.process_time() - began > SECONDS:
                break
    return audio / training_set.config.features.sample_rate / (time.process_time() - began)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
