"""Length and sample rate in, the times of a clip's samples out; and numbers drawn from wide ranges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """How long a clip is and at what rate it is sampled."""

    seconds: float
    sample_rate: int  # Hz

    @property
    def num_samples(self) -> int:
        return round(self.seconds * self.sample_rate)

    @cached_property
    def time(self) -> Samples:
        """(N,) of each sample, in seconds."""
        return np.arange(self.num_samples) / self.sample_rate

    def silence(self) -> Samples:
        """(N,) zeros, to add sounds to."""
        return np.zeros(self.num_samples)

    def tone(self, hertz: float, seconds: float) -> Samples:
        """A sine (M,) that is not longer than the clip."""
        return np.asarray(np.sin(2 * np.pi * hertz * self.time[: round(seconds * self.sample_rate)]))

    def add(self, wave: Samples, start: float, sound: Samples) -> None:
        """Add a sound to the wave from `start` seconds on, as much of it as there is room for."""
        room = wave[round(start * self.sample_rate) :][: sound.size]
        room += sound[: room.size]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """As likely between 1 and 2 as between 10 and 20."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: Rng, probability: float) -> bool:
    """Whether it happens."""
    return bool(rng.random() < probability)
