"""A seed and a length in, when things happen in a sound out: in rhythms, in phrases, by chance, or once.

Contours are what changes slowly: an array (M,) with a value every `STEP_S` seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.data.sounds.clip import Rng, Samples, chance, log_uniform
from jasper.data.sounds.filters import smooth

STEP_S = 0.002
SHORTEST_S = 0.008  # of an event


@dataclass(frozen=True, slots=True)
class Events:
    """What each step of a contour is in the midst of."""

    index: NDArray[np.int64]  # (M,) of the event that began last
    place: Samples  # (M,) how far through it, 0 to 1; outside of this, nothing sounds
    since: Samples  # (M,) seconds since it began
    kind: NDArray[np.int64]  # (E,) of each event: events of a kind are alike
    num_kinds: int

    @property
    def sounding(self) -> NDArray[np.bool_]:
        """(M,) whether an event is under way."""
        return np.asarray((self.place >= 0) & (self.place < 1))

    def of_kind(self, values: Samples) -> Samples:
        """(M,) of one value a kind."""
        return np.asarray(values[self.kind[self.index]])

    def of_event(self, values: Samples) -> Samples:
        """(M,) of one value an event."""
        return np.asarray(values[self.index])


def draw_events(rng: Rng, seconds: float, beat: float | None) -> Events:
    """Events of a few kinds, in a pattern or not; with a `beat` (s) they keep time with other layers."""
    if beat is not None:
        onsets = _rhythm(rng, seconds, beat * 2.0 ** rng.integers(-2, 2))
    else:
        onsets = PATTERNS[int(rng.integers(len(PATTERNS)))](rng, seconds)
    onsets = onsets[onsets < seconds]
    if not onsets.size or onsets[0] > seconds / 2:
        onsets = np.concatenate([[rng.uniform(0, seconds / 4)], onsets])
    gaps = np.diff(onsets, append=max(seconds, onsets[-1] + SHORTEST_S))
    filled = log_uniform(rng, 0.15, 1) if onsets.size > 1 else 1.0
    longest = np.median(gaps) * log_uniform(rng, 1, 8)
    lengths = np.maximum(SHORTEST_S, np.minimum(gaps, longest) * filled)
    num_kinds = int(rng.integers(1, 6))
    motif = rng.integers(num_kinds, size=int(rng.integers(1, 9)))
    kind = np.resize(motif, onsets.size) if chance(rng, 0.6) else rng.integers(num_kinds, size=onsets.size)
    at = np.arange(max(2, round(seconds / STEP_S))) * STEP_S
    index = np.maximum(np.searchsorted(onsets, at, side="right") - 1, 0)
    since = at - onsets[index]
    return Events(index, since / lengths[index], since, kind, num_kinds)


def swing(rng: Rng, seconds: float, slowest: float = 0.1, fastest: float = 40.0) -> Samples:
    """A contour (M,) between -1 and 1 that goes up and down: a sine, steps, a sawtooth or a triangle."""
    cycles = np.arange(max(2, round(seconds / STEP_S))) * STEP_S * log_uniform(rng, slowest, fastest)
    cycles += rng.random()
    shape = int(rng.integers(6))
    if shape == 0:
        return np.asarray(np.sign(np.sin(2 * np.pi * cycles)))
    if shape == 1:
        return np.asarray((2 * (cycles % 1) - 1) * rng.choice([-1, 1]))
    if shape == 2:
        return np.asarray(4 * np.abs(cycles % 1 - 0.5) - 1)
    return np.asarray(np.sin(2 * np.pi * cycles))


def wander(rng: Rng, seconds: float) -> Samples:
    """A contour (M,) that wanders about 0, with a standard deviation of 1."""
    walk = rng.standard_normal(max(2, round(seconds / STEP_S)))
    walk = smooth(walk, log_uniform(rng, 0.01, 2), 1 / STEP_S)
    return np.asarray(walk / max(1e-9, float(walk.std())))


def _steady(rng: Rng, seconds: float) -> Samples:
    return np.zeros(1)


def _regular(rng: Rng, seconds: float) -> Samples:
    gap = 1 / log_uniform(rng, 0.4, 16)
    onsets = np.arange(rng.uniform(0, gap), seconds, gap)
    return np.sort(np.abs(onsets + gap * log_uniform(rng, 0.001, 0.3) * rng.standard_normal(onsets.size)))


def _chance(rng: Rng, seconds: float) -> Samples:
    gap = log_uniform(rng, 0.07, 1.5)
    return np.cumsum(rng.exponential(gap, 10 + round(2 * seconds / gap)))


def _rhythm(rng: Rng, seconds: float, beat: float | None = None) -> Samples:
    """A pattern of 2 to 16 steps, again and again."""
    step = max(0.06, beat) if beat else log_uniform(rng, 0.08, 0.6)
    pattern = rng.random(int(rng.integers(2, 17)) if beat is None else 8) < rng.uniform(0.25, 0.95)
    pattern[int(rng.integers(pattern.size))] = True
    return np.asarray(np.flatnonzero(np.resize(pattern, int(seconds / step) + 1)) * step, dtype=float)


def _phrases(rng: Rng, seconds: float) -> Samples:
    """Trills and calls: several events, faster and faster or slower and slower, a pause, and again."""
    gap, change = 1 / log_uniform(rng, 2, 30), rng.choice([1.0, rng.uniform(0.8, 1.2)])
    inner = np.cumsum(gap * change ** np.arange(int(rng.integers(2, 25))))
    inner = inner[inner < 4.0]
    onsets, start = [], rng.uniform(0, 0.5)
    while start < seconds:
        onsets.append(
            start + inner[: int(rng.integers(1, inner.size + 1))] if inner.size else np.array([start])
        )
        start = float(onsets[-1][-1]) + log_uniform(rng, 0.15, 2)
    return np.concatenate(onsets)


PATTERNS: tuple[Callable[[Rng, float], Samples], ...] = (  # as often as they stand here
    *(_steady, _steady, _steady),
    *(_regular, _chance, _rhythm),
    *(_phrases, _phrases),
)
