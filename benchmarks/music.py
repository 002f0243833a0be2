"""A seed in, music without a voice out: some to train with, some of other instruments to be measured on.

Training music is chords and melodies of additive waveforms; the music to measure on is made in other ways:
tones of frequency modulation, plucked strings (Karplus and Strong 1983) and drum loops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jasper.data.sounds.clip import Clip
from jasper.data.sounds.music import SCALES, hertz, music, semitones
from jasper.types import FloatArray

RATE = 16000
Rng = np.random.Generator


def training_music(seconds: float, seed: int) -> FloatArray:
    """A melody, chords under it, or both (N,), of random tempo, scale, waveforms and envelopes."""
    rng = np.random.default_rng((seed, 1))
    return _levelled(music(rng, Clip(seconds, RATE)), rng)


def fm_music(seconds: float, seed: int) -> FloatArray:
    """A melody (N,) of bells and brass: one sine modulates another's phase (Chowning 1973)."""
    rng = np.random.default_rng((seed, 2))
    ratio, depth = rng.choice([1.0, 1.4, 2.0, 3.5]), rng.uniform(1, 6)

    def note(hertz: float, length: float) -> FloatArray:
        time = np.arange(round(length * RATE)) / RATE
        fall = np.exp(-3 * time / length)
        return (
            np.sin(2 * np.pi * hertz * time + depth * fall * np.sin(2 * np.pi * ratio * hertz * time)) * fall
        )

    return _melody(seconds, note, rng)


def plucked_music(seconds: float, seed: int) -> FloatArray:
    """A melody (N,) of plucked strings: a burst of noise that runs round a delay line."""
    rng = np.random.default_rng((seed, 3))

    def note(hertz: float, length: float) -> FloatArray:
        size, count = round(RATE / hertz), round(length * RATE)
        periods = [rng.uniform(-1, 1, size)]
        while len(periods) * size < count:
            last = periods[-1]
            periods.append(0.996 * (last + np.roll(last, 1)) / 2)
        return np.concatenate(periods)[:count]

    return _melody(seconds, note, rng)


def drum_loop(seconds: float, seed: int) -> FloatArray:
    """A loop (N,) of sixteen steps: falling sines, bursts of noise, and hisses."""
    rng = np.random.default_rng((seed, 4))
    wave, step = np.zeros(round(seconds * RATE)), 15 / rng.uniform(80, 160)
    time = np.arange(round(0.25 * RATE)) / RATE
    hits = {
        0.25: np.sin(2 * np.pi * (50 * time - 8 * np.exp(-30 * time))) * np.exp(-12 * time),
        0.2: rng.standard_normal(time.size) * np.exp(-25 * time),
        0.5: 0.3 * np.diff(rng.standard_normal(time.size + 1)) * np.exp(-60 * time),
    }
    patterns = [(hit, rng.random(16) < often) for often, hit in hits.items()]
    for index in range(int(seconds / step)):
        for hit, pattern in patterns:
            if pattern[index % 16]:
                _add(wave, index * step, hit)
    return _levelled(wave, rng)


def _melody(seconds: float, note: Callable[[float, float], FloatArray], rng: Rng) -> FloatArray:
    wave, start, beat = np.zeros(round(seconds * RATE)), 0.0, 60 / rng.uniform(70, 160)
    scale, place = SCALES[int(rng.integers(len(SCALES)))], 5
    while start < seconds:
        length = beat * rng.choice([0.5, 1, 1, 2])
        place = int(np.clip(place + rng.integers(-2, 3), 0, 12))
        _add(wave, start, note(hertz(55 + semitones(scale, place)), length))
        start += length
    return _levelled(wave, rng)


def _add(wave: FloatArray, start: float, sound: FloatArray) -> None:
    first = round(start * RATE)
    room = wave[first : first + sound.size]
    room += sound[: room.size]


def _levelled(wave: FloatArray, rng: Rng) -> FloatArray:
    return (wave / max(1e-9, np.abs(wave).max()) * rng.uniform(0.1, 0.8)).astype(np.float32)
