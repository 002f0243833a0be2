"""A seed and a clip's length in, sounds with a name out: machines, signals, noises, music; no voice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jasper.data.sounds.clip import Clip, Rng, Samples
from jasper.data.sounds.filters import colour, filtered, resonator, smooth

KEYS = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477, 1633)]  # Hz, ITU-T Q.23
CHORDS = ((0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7, 12), (0, 4, 8, 14))  # semitones
MODES = (1.0, 2.76, 5.4, 8.93)  # of a struck bar, as multiples of the lowest


def keypad(rng: Rng, clip: Clip) -> Samples:
    """A telephone number, dialled again and again."""
    length, wave = rng.uniform(0.08, 0.25), clip.silence()
    for start in np.arange(0.2, clip.seconds - 0.3, length * rng.uniform(1.5, 3)):
        low, high = KEYS[rng.integers(len(KEYS))]
        clip.add(wave, start, clip.tone(low, length) + clip.tone(high, length))
    return wave


def morse(rng: Rng, clip: Clip) -> Samples:
    """A beep, on and off in units of a dot."""
    unit = rng.uniform(0.05, 0.12)
    keys = rng.random(round(clip.seconds / unit) + 1) < 0.55
    keyed = np.resize(np.repeat(keys, round(unit * clip.sample_rate)), clip.num_samples)
    return np.sin(2 * np.pi * rng.uniform(400, 1000) * clip.time) * smooth(
        keyed.astype(float), 0.004, clip.sample_rate
    )


def sweep(rng: Rng, clip: Clip) -> Samples:
    """Sirens: pitch up and down, exponentially."""
    rate, low, octaves = rng.uniform(0.2, 4), rng.uniform(150, 700), rng.uniform(0.5, 2.5)
    hertz = low * 2 ** (octaves * (1 + np.sin(2 * np.pi * rate * clip.time)) / 2)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(hertz) / clip.sample_rate))


def trembling_noise(rng: Rng, clip: Clip) -> Samples:
    """Pink or brown noise whose loudness trembles at 1 to 9 Hz, where syllables are."""
    falling = colour(clip.num_samples, -rng.choice([0.5, 1.0]), clip.sample_rate)
    noise = filtered(rng.standard_normal(clip.num_samples), falling)
    return noise * (1 + rng.uniform(0.5, 1) * np.sin(2 * np.pi * rng.uniform(1, 9) * clip.time))


def gusts(rng: Rng, clip: Clip) -> Samples:
    """Noise through bands that come and go, as wind has them, and vowels too."""
    wave, rate = clip.silence(), clip.sample_rate
    for _ in range(4):
        loudness = smooth(rng.standard_normal(wave.size), rng.uniform(0.1, 0.5), rate)
        noise = rng.standard_normal(wave.size)
        noise = resonator(noise, rng.uniform(150, 3500), rng.uniform(0.001, 0.01), rate)
        wave += noise / noise.std() * np.maximum(0, loudness / loudness.std())
    return wave


def clicks(rng: Rng, clip: Clip) -> Samples:
    """Clicks of a resonant body, regular or not."""
    rate, regular = rng.uniform(1, 20), rng.random() < 0.5
    times = np.arange(0.1, clip.seconds, 1 / rate)
    if not regular:
        times = np.sort(rng.uniform(0, clip.seconds, round(clip.seconds * rate)))
    impulses = clip.silence()
    at = np.minimum((times * clip.sample_rate).astype(int), impulses.size - 1)
    impulses[at] = rng.uniform(0.3, 1, times.size)
    return resonator(impulses, rng.uniform(500, 4000), rng.uniform(0.001, 0.02), clip.sample_rate)


def engine(rng: Rng, clip: Clip) -> Samples:
    """A motor: pulses through two resonances, its speed going up and down."""
    hertz = rng.uniform(25, 110) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.05, 0.5) * clip.time))
    pulses = (np.diff(np.floor(np.cumsum(hertz) / clip.sample_rate), prepend=0) > 0).astype(float)
    return sum(
        (resonator(pulses, rng.uniform(200, 2500), 0.003, clip.sample_rate) for _ in range(2)), clip.silence()
    )


def bars(rng: Rng, clip: Clip) -> Samples:
    """A xylophone's melody: bars with their inharmonic modes."""
    beat, root, wave = rng.uniform(0.12, 0.5), rng.uniform(300, 800), clip.silence()
    for start in np.arange(0, clip.seconds, beat):
        hertz = root * 2 ** (rng.choice([0, 2, 4, 7, 9, 12]) / 12)
        for place, mode in enumerate(MODES):
            sound = clip.tone(hertz * mode, 0.8)
            clip.add(wave, start, sound * np.exp(-clip.time[: sound.size] * (5 + 8 * place)))
    return wave


def pad(rng: Rng, clip: Clip) -> Samples:
    """Chords of detuned sawtooths through a filter that opens and closes."""
    wave, length = clip.silence(), rng.uniform(0.8, 2.5)
    for start in np.arange(0, clip.seconds, length):
        root = rng.uniform(90, 220)
        for step in CHORDS[rng.integers(len(CHORDS))]:
            hertz = root * 2 ** (step / 12) * (1 + 0.004 * rng.standard_normal())
            clip.add(wave, start, 2 * (hertz * clip.time[: round(length * clip.sample_rate)] % 1) - 1)
    return resonator(wave, rng.uniform(300, 1500), 0.002, clip.sample_rate) * (
        1.2 + np.sin(2 * np.pi * rng.uniform(0.3, 4) * clip.time)
    )


def kit(rng: Rng, clip: Clip) -> Samples:
    """Drums from noise in resonators, in a rhythm of twelve."""
    wave, step, size = clip.silence(), rng.uniform(0.09, 0.2), clip.sample_rate // 5
    hits = [(rng.uniform(60, 3000), rng.uniform(0.005, 0.05), rng.random(12) < 0.4) for _ in range(4)]
    fall = np.exp(-np.arange(size) / clip.sample_rate / 0.01)
    for index, start in enumerate(np.arange(0, clip.seconds, step)):
        for hertz, ring, pattern in hits:
            if pattern[index % 12]:
                hit = resonator(rng.standard_normal(size) * fall, hertz, ring, clip.sample_rate)
                clip.add(wave, start, hit / np.abs(hit).max())
    return wave


KINDS: dict[str, Callable[[Rng, Clip], Samples]] = {
    "keypad": keypad,
    "morse": morse,
    "sweep": sweep,
    "trembling-noise": trembling_noise,
    "gusts": gusts,
    "clicks": clicks,
    "engine": engine,
    "bars": bars,
    "pad": pad,
    "kit": kit,
}
