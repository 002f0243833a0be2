"""Durations in, batches of like duration out: the order of training, a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jasper.config import DataConfig


def epoch_batches(durations: Sequence[float], config: DataConfig, seed: int, epoch: int) -> list[list[int]]:
    """Cut all utterances into batches of neighbours in duration, in random order.

    No batch has more than `batch_size` utterances, nor more than `batch_seconds` counted as its size times
    its longest. Every utterance is in exactly one batch. Durations are blurred by 5 % first, so the same
    utterances do not meet in every epoch.
    """
    rng = np.random.default_rng((seed, epoch, 0x20))
    exact = np.asarray(durations, dtype=np.float64)
    order = np.argsort(exact * rng.uniform(0.95, 1.05, exact.size), kind="stable")
    batches = cut_batches(exact, order, config.batch_size, config.batch_seconds)
    return [batches[index] for index in rng.permutation(len(batches))]


def cut_batches(
    durations: NDArray[np.float64], order: NDArray[np.int64], batch_size: int, batch_seconds: float
) -> list[list[int]]:
    """Cut `order` into runs whose padded audio fits; one utterance alone always does."""
    batches: list[list[int]] = []
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
