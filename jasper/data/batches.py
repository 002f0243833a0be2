"""Durations in, steps of batches of like duration out: the order of training, a pure function."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jasper.config import DataConfig

Batches = list[list[int]]


def epoch_steps(
    durations: ArrayLike, config: DataConfig, seed: int, epoch: int, batches_a_step: int = 1
) -> list[Batches]:
    """Cut all utterances into batches of neighbours in duration, and neighbouring batches into steps.

    No batch has more than `batch_size` utterances, nor more than `batch_seconds` counted as its size times
    its longest. Every utterance is in exactly one batch; the steps come in random order. All batches of a
    step are of like duration, so that ranks that work on one each end at the same time. In the last one cut,
    batches may be halved to give everyone a share; with too few utterances for that, some are empty.
    Durations are blurred by 2 % first, so the same utterances do not meet in every epoch; 5 % would pad 4 to
    5 % of the audio of LibriSpeech where 2 % pads 2 to 3 %.
    """
    rng = np.random.default_rng((seed, epoch, 0x20))
    exact = np.asarray(durations, dtype=np.float64)
    order = np.argsort(exact * rng.uniform(0.98, 1.02, exact.size), kind="stable")
    batches = cut_batches(exact, order, config.batch_size, config.batch_seconds)
    steps = [batches[start : start + batches_a_step] for start in range(0, len(batches), batches_a_step)]
    if steps:
        steps[-1] = _share(steps[-1], exact, batches_a_step)
    return [steps[index] for index in rng.permutation(len(steps))]


def cut_batches(
    durations: NDArray[np.float64], order: NDArray[np.int64], batch_size: int, batch_seconds: float
) -> Batches:
    """Cut `order` into runs whose padded audio fits; one utterance alone always does."""
    batches: Batches = []
    longest = 0.0
    for index in order.tolist():
        longest = max(longest, durations[index])
        current = batches[-1] if batches else None
        if current and len(current) < batch_size and (len(current) + 1) * longest <= batch_seconds:
            current.append(index)
        else:
            batches.append([index])
            longest = durations[index]
    return batches


def _share(batches: Batches, durations: NDArray[np.float64], count: int) -> Batches:
    """Halve the batch of most audio until there are `count`, or only single utterances and empty batches."""
    shared = list(batches)
    while len(shared) < count:
        seconds = [len(batch) * max(durations[batch], default=0.0) for batch in shared]
        most = max(range(len(shared)), key=lambda i: (len(shared[i]) > 1, seconds[i]))
        half = (len(shared[most]) + 1) // 2
        if len(shared[most]) == 1:
            return shared + [[] for _ in range(count - len(shared))]
        shared[most : most + 1] = [shared[most][:half], shared[most][half:]]
    return shared
