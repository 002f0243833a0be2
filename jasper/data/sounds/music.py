"""A seed and a clip's length in, melodies and chords of additive waveforms out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jasper.data.sounds.clip import Clip, Rng, Samples

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))  # major, minor, pentatonic
HARMONICS: dict[str, Callable[[int], float]] = {
    "sine": lambda n: float(n == 1),
    "saw": lambda n: 1 / n,
    "square": lambda n: n % 2 / n,
    "triangle": lambda n: n % 2 / n**2,
    "organ": lambda n: float(n in (1, 2, 4, 8)),
}


def music(rng: Rng, clip: Clip) -> Samples:
    """A melody, chords under it, or both, of random tempo, scale, waveforms and envelopes."""
    wave = clip.silence()
    voices = [("melody",), ("chords",), ("melody", "chords")][int(rng.integers(3))]
    scale, root = SCALES[int(rng.integers(len(SCALES)))], rng.uniform(45, 60)
    beat = 60 / rng.uniform(60, 180)
    for voice in voices:
        weights = list(HARMONICS.values())[int(rng.integers(len(HARMONICS)))]
        attack, vibrato = rng.uniform(0.002, 0.1), rng.uniform(0, 0.3)
        start = 0.0
        while start < clip.seconds:
            length = beat * rng.choice([0.5, 1, 2] if voice == "melody" else [2, 4])
            degree = int(rng.integers(2 * len(scale)))
            for third in (0,) if voice == "melody" else (0, 2, 4):
                pitch = root + semitones(scale, degree + third) + 12 * (voice == "melody")
                if rng.random() < 0.9:
                    note = _additive(hertz(pitch), length, weights, attack, vibrato, clip.sample_rate)
                    clip.add(wave, start, note)
            start += length
    return wave


def semitones(scale: tuple[int, ...], degree: int) -> int:
    """Above the root, of a degree of the scale and of the octaves above it."""
    return 12 * (degree // len(scale)) + scale[degree % len(scale)]


def hertz(pitch: float) -> float:
    """Of a MIDI note; 69 is 440 Hz."""
    return float(440 * 2 ** ((pitch - 69) / 12))


def _additive(
    hertz: float, length: float, weights: Callable[[int], float], attack: float, vibrato: float, rate: int
) -> Samples:
    time = np.arange(round(length * rate)) / rate
    phase = 2 * np.pi * hertz * time + vibrato * np.sin(2 * np.pi * 5 * time) * hertz / 100
    partials = [weights(n) * np.sin(n * phase) for n in range(1, 9) if n * hertz < rate / 2]
    sound = sum(partials, np.zeros(time.size))
    return sound * np.minimum(1, time / attack) * np.minimum(1, (length - time) / 0.03)
