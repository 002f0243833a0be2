"""A recipe in; what data costs a training out: startup, padding, and seconds of audio a second of one core.

python benchmarks/loader.py RECIPE [key=value]...
"""

from __future__ import annotations

import resource
import sys
import time

from threadpoolctl import threadpool_limits

from jasper.data.dataset import TrainingSet
from jasper.data.selection import read_training
from jasper.data.table import durations_of
from jasper.recipe import load_config
from jasper.train.loader import epoch_order

SECONDS = 10.0  # of the core's time, for each measurement


def main() -> None:
    """Print startup, padding before augmentation, and the loader's rate without and with features."""
    config = load_config(sys.argv[1], sys.argv[2:])
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
    seconds = durations_of(utterances)
    held = sum(len(batch) * seconds[batch].max() for batch in batches)
    print(f"padding: {1 - seconds.sum() / held:.2%} of {len(batches)} batches")
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
