"""A way to run a network in, seconds a run and peak memory out. NeMo's Python runs it too."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[np.ndarray, np.ndarray], object]  # features (B, F, T), lengths (B,)
SECONDS = 4.0  # of measuring in one process
FRAMES_PER_S = 100


def noise_clip(seconds: float, num_mels: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Noise in place of the features (1, F, T) of one clip, and lengths (1,)."""
    frames = round(seconds * FRAMES_PER_S)
    features = np.random.default_rng(0).standard_normal((1, num_mels, frames)).astype(np.float32)
    return features, np.array([frames], dtype=np.int64)


def clock(threads: int) -> Callable[[], float]:
    """Seconds; of a single thread its own, which other work on the machine hardly makes longer."""
    return time.process_time if threads == 1 else time.perf_counter


def time_runs(run: Run, features: np.ndarray, lengths: np.ndarray, threads: int) -> dict[str, Any]:
    """The fastest of some runs (s), after one that warms up, and the peak memory of the process (MiB)."""
    run(features, lengths)
    now, seconds = clock(threads), list[float]()
    while len(seconds) < 3 or sum(seconds) < SECONDS:
        start = now()
        run(features, lengths)
        seconds.append(now() - start)
    return {"seconds": min(seconds), "peak_mib": peak_mib()}


def peak_mib() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
