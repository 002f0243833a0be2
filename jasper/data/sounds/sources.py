"""Pitch and brightness in, the raw sound of a layer out: tones, chords, FM, pulses, grains, noises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jasper.data.sounds.clip import Clip, Rng, Samples, chance, log_uniform
from jasper.data.sounds.filters import colour, filtered

TABLE = 4096  # samples of a period
MOST_HARMONICS = 120
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 7), (0, 12), (0, 5, 7), (0, 4, 7, 11), (0, 3, 6, 9), (0, 1), (0, 6, 13))


@dataclass(frozen=True, slots=True)
class Voice:
    """What a source is asked for, given evenly through the clip."""

    hertz: Samples  # (M,) its pitch
    brightness: Samples  # (M,) 0 to 1, how much of what is above its pitch


def tone(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """A stack of harmonics."""
    number = _harmonics(clip, voice)
    loudness = number ** -rng.uniform(0, 2.5)
    if chance(rng, 0.5):
        loudness *= np.exp(rng.uniform(0.2, 2) * rng.standard_normal(number.size))
    if chance(rng, 0.2):  # as of a square wave or a clarinet
        loudness[1::2] *= 0.05
    turned = np.exp(2j * np.pi * rng.random(number.size)) if chance(rng, 0.5) else np.full(number.size, -1j)
    cycles = _cycles(clip, voice)
    wave = _looked_up(_period(loudness * turned), cycles)
    if np.ptp(voice.brightness) < 0.1:
        return wave
    dull = _looked_up(_period(loudness * turned / number**2), cycles)
    return dull + (wave - dull) * stretched(clip, voice.brightness)


def whistle(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """A sine."""
    return np.asarray(np.sin((2 * np.pi * (_cycles(clip, voice) % 1)).astype(np.float32)))


def chord(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Tones of one sound together: in unison, a little out of tune, or at intervals."""
    number, cycles, wave = _harmonics(clip, voice), _cycles(clip, voice), clip.silence()
    period = _period(-1j * number ** -rng.uniform(0.3, 2.5))
    steps = CHORDS[int(rng.integers(len(CHORDS)))] if chance(rng, 0.7) else (0,) * int(rng.integers(2, 5))
    for step in steps:
        out_of_tune = 2 ** (step / 12 + 0.01 * rng.standard_normal())
        wave += _looked_up(period, cycles * out_of_tune + rng.random())
    return wave


def modulated(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Frequency modulation (Chowning 1973)."""
    cycles, ratio = _cycles(clip, voice), rng.choice([log_uniform(rng, 0.01, 8), rng.integers(1, 6) / 2])
    index = log_uniform(rng, 0.1, 8) / max(1.0, 0.5 / ratio) * stretched(clip, voice.brightness)
    inner = np.sin((2 * np.pi * (cycles * ratio % 1)).astype(np.float32))
    return np.asarray(
        np.sin((2 * np.pi * (cycles % 1)).astype(np.float32) + index.astype(np.float32) * inner)
    )


def partials(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Two to seven sines that are no harmonics of each other: bells, bars, glass, plates."""
    cycles, wave = _cycles(clip, voice), clip.silence()
    for ratio in np.exp(rng.uniform(0, np.log(10), int(rng.integers(2, 8)))):
        if ratio * voice.hertz.mean() < clip.sample_rate / 2:
            turned = (2 * np.pi * (cycles * ratio % 1)).astype(np.float32)
            wave += rng.exponential() / ratio ** rng.uniform(0, 1) * np.sin(turned)
    return wave if wave.any() else whistle(rng, clip, voice)


def pulses(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Clicks, three to five octaves below the pitch, of more or less the same loudness."""
    cycles = _cycles(clip, voice) * 2.0 ** -rng.uniform(2, 5)
    at = np.flatnonzero(np.diff(np.floor(cycles), prepend=-1.0))
    wave = clip.silence()
    wave[at] = np.exp(log_uniform(rng, 0.01, 0.7) * rng.standard_normal(at.size))
    return wave


def crackle(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Impulses at random, few of them loud: fire, rain, dust."""
    wave = clip.silence()
    count = max(1, round(clip.seconds * log_uniform(rng, 3, 2000)))
    at = rng.integers(wave.size, size=count)
    wave[at] = rng.standard_normal(count) ** rng.choice([1, 3])
    return wave


def grains(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Many drops of a few kinds at random, one over another: rain, bubbles, beads, applause."""
    size = min(clip.num_samples, round(log_uniform(rng, 0.004, 0.3) * clip.sample_rate))
    place = np.arange(size) / size
    rate, glide = log_uniform(rng, 2, 150), rng.uniform(-1, 1)
    spectra = np.zeros(clip.num_samples // 2 + 1, dtype=complex)
    for _ in range(3):
        middle = min(float(np.median(voice.hertz)) * 2 ** rng.uniform(-1, 1), clip.sample_rate / 5)
        hertz = middle * 2 ** (glide * place)
        grain = np.zeros(clip.num_samples)
        grain[:size] = np.sin(2 * np.pi * np.cumsum(hertz) / clip.sample_rate) * np.exp(-7 * place)
        impulses = clip.silence()
        at = rng.integers(impulses.size, size=max(1, round(clip.seconds * rate / 3)))
        impulses[at] = rng.exponential(size=at.size)
        spectra += np.fft.rfft(grain) * np.fft.rfft(impulses)
    return np.fft.irfft(spectra, clip.num_samples)


def held(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Random levels, each held for a period: modems, games, static."""
    cycles = (_cycles(clip, voice) * rng.choice([0.25, 1, 4])).astype(np.int64)
    levels = rng.standard_normal(int(cycles[-1]) + 1)
    return np.asarray((np.sign(levels) if chance(rng, 0.5) else levels)[cycles])


def noise(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Coloured noise."""
    white = rng.standard_normal(clip.num_samples)
    return filtered(white, colour(white.size, rng.uniform(-1.3, 0.6), clip.sample_rate))


def hoarse(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """Noise that comes and goes with the period of a tone: growls, snores, saws, rattles."""
    rough = rng.standard_normal(clip.num_samples) * rng.uniform(0.2, 1) + rng.choice([0, 1])
    return np.asarray(rough * np.maximum(0, tone(rng, clip, voice)))


SOURCES: dict[Callable[[Rng, Clip, Voice], Samples], float] = {  # and how often each
    tone: 5,
    whistle: 3,
    chord: 3,
    modulated: 3,
    partials: 2,
    pulses: 2,
    crackle: 1,
    grains: 1.5,
    held: 1,
    noise: 4,
    hoarse: 2,
}


def draw_source(rng: Rng, clip: Clip, voice: Voice) -> Samples:
    """A layer's raw sound (N,)."""
    weights = np.array(list(SOURCES.values()))
    return list(SOURCES)[int(rng.choice(weights.size, p=weights / weights.sum()))](rng, clip, voice)


def stretched(clip: Clip, contour: Samples) -> Samples:
    """A contour (M,), given evenly through the clip, at each sample (N,)."""
    places = np.linspace(0, clip.num_samples, contour.size)
    return np.asarray(np.interp(np.arange(clip.num_samples), places, contour))


def _cycles(clip: Clip, voice: Voice) -> Samples:
    """(N,) periods since the beginning."""
    return np.asarray(np.cumsum(stretched(clip, voice.hertz) / clip.sample_rate))


def _harmonics(clip: Clip, voice: Voice) -> Samples:
    """(K,) 1, 2, …, those below half the sample rate for nearly all of the pitch."""
    count = clip.sample_rate / 2 / np.percentile(voice.hertz, 95)
    return np.arange(1.0, np.clip(int(count), 1, MOST_HARMONICS) + 1)


def _period(amplitudes: NDArray[np.complexfloating[Any, Any]]) -> Samples:
    """A waveform (TABLE,) of harmonics' amplitudes (K,)."""
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    spectrum[1 : amplitudes.size + 1] = amplitudes
    period = np.fft.irfft(spectrum)
    return np.asarray(period / np.abs(period).max())


def _looked_up(period: Samples, cycles: Samples) -> Samples:
    return period[(cycles % 1 * TABLE).astype(np.int32) % TABLE]
