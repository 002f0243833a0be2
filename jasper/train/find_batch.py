"""A recipe and a device's memory in, the largest `data.batch_seconds` that fits in it out."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from jasper.config import Config
from jasper.data.dataset import Batch, Example, TrainingSet, collate
from jasper.data.selection import read_training, with_labels
from jasper.data.table import durations_of
from jasper.errors import ConfigError, TrainingError
from jasper.features import num_frames
from jasper.nn.device import pick_device, runs_beside_host
from jasper.train.learner import Learner
from jasper.train.log import say
from jasper.train.ranks import Ranks
from jasper.train.step import train_step
from jasper.train.tally import count_step

# Of the memory: batches of other shapes need a little more, and so does an allocator that runs for days.
MARGIN = 0.1
_RESOLUTION = 0.1  # of the answer
_KILLED = -9  # exit code of a process that the system ended for want of memory


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """The largest batch that fits: `data.batch_seconds`, and what it and all else take at the peak."""

    batch_seconds: float
    num_utterances: int  # of the longest ones
    peak_gib: float
    limit_gib: float  # what there is, less the margin


def find_batch(config: Config, memory_gb: float | None = None) -> FoundBatch:
    """Search the largest `data.batch_seconds` by steps of training on noise, each size in its own process.

    Batches are of the longest utterances and of as many as `data.batch_size` allows. `memory_gb` (10^9 bytes)
    stands for what the device has free. Raises ConfigError where not even one utterance fits.
    """
    config = with_labels(config)
    longest = _longest_duration(config)
    limit = (1 - MARGIN) * (memory_gb * 1e9 if memory_gb is not None else _free_bytes(config.train.device))
    fits, too_many, peak = 0, config.data.batch_size + 1, 0.0
    while (size := _next_size(fits, too_many)) is not None:
        taken = _peak_bytes(config, [longest] * size)
        fit = taken is not None and taken <= limit
        told = "more than there is" if taken is None else f"{taken / 2**30:.2f} GiB"
        say(f"{size} utterances of {longest:.1f} s: {told}, which {'fits' if fit else 'does not fit'}")
        if fit and taken is not None:
            fits, peak = size, taken
        else:
            too_many = size
    if not fits:
        raise ConfigError(
            f"one utterance of {longest:.1f} s does not fit in {limit / 2**30:.2f} GiB; set a smaller "
            "data.max_duration or network, or train.activation_checkpointing=true"
        )
    return FoundBatch(round(fits * longest, 1), fits, peak / 2**30, limit / 2**30)


def noise_batch(training_set: TrainingSet, durations: Sequence[float], num_tokens: int) -> Batch:
    """A batch of noise of these durations (s), as the loader would give it, each of `num_tokens` tokens."""
    config, rng = training_set.config, np.random.default_rng(0)
    examples = []
    for index, duration in enumerate(durations):
        wave = rng.standard_normal(round(duration * config.features.sample_rate), dtype=np.float32)
        tokens = rng.integers(0, len(config.text.labels), num_tokens)
        frames = num_frames(config.features, wave.size)
        views = tuple(
            training_set.augmenter.draw_spans(config.features.num_features, frames, rng)
            for _ in range(config.loss.num_views)
        )
        examples.append(Example(str(index), wave, tokens, views))
    batch = collate(examples)
    if not training_set.with_features:
        return batch
    features, _ = training_set.extractor([example.wave for example in examples])
    return replace(batch, waves=batch.waves[:, :0].copy(), features=features)


def _next_size(fits: int, too_many: int) -> int | None:
    """Twice as many until it is too many, then halfway between; None where they are close enough."""
    size = max(1, 2 * fits)
    if size >= too_many:
        size = (fits + too_many) // 2
    return size if size > fits and too_many - fits > _RESOLUTION * fits else None


def _longest_duration(config: Config) -> float:
    """Of an utterance (s), as slow as augmentation may make it."""
    utterances = read_training(config).utterances
    if not utterances:
        raise ConfigError("data.train: nothing to train on")
    return float(durations_of(utterances).max()) / config.augment.speed[0]


def _free_bytes(device: str) -> float:
    picked = pick_device(device)
    if runs_beside_host(picked):
        return float(torch.get_device_module(picked).mem_get_info(picked)[0])
    meminfo = Path("/proc/meminfo")
    if picked.type == "cpu" and meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    raise ConfigError(f"the memory of {picked.type} cannot be asked for here; give --memory-gb")


def _peak_bytes(config: Config, durations: Sequence[float]) -> float | None:
    """What two steps take at their peak; None where the device or the system has not so much."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(config, durations, sender))
    process.start()
    sender.close()
    try:
        peak: float | None = receiver.recv()
    except EOFError:
        process.join()
        if process.exitcode == _KILLED:
            return None
        raise TrainingError(f"a trial step ended with exit code {process.exitcode}; see above") from None
    process.join()
    return peak


def _is_want_of_memory(error: Exception) -> bool:
    """An accelerator's has a type of its own; that of the host's allocators has only its words."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "t allocate memory" in str(error)


def _try(config: Config, durations: Sequence[float], sender: Connection) -> None:
    """Make two steps, in the second of which the optimizer has its state, and send the peak in bytes."""
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    ranks = Ranks(pick_device(config.train.device))
    learner = Learner(config, ranks, fresh=True)
    training_set = TrainingSet(config, with_features=ranks.device.type == "cpu")
    frames = num_frames(config.features, int(durations[0] * config.features.sample_rate))
    # A blank or a repeat between every two labels is more than speech has.
    batches = [noise_batch(training_set, durations, max(1, config.network.num_steps(frames) // 2))]
    try:
        for step in (1, 2):
            train_step(learner, ranks, batches, count_step(batches, ranks), step, rate=1e-6).read()
    except (MemoryError, RuntimeError) as error:
        if not _is_want_of_memory(error):
            raise
        sender.send(None)
        return
    if runs_beside_host(ranks.device):
        sender.send(float(torch.get_device_module(ranks.device).max_memory_reserved(ranks.device)))
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        sender.send(float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit))
