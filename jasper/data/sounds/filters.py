"""Values in, filtered values out: smoothed, ringing, coloured, through resonances that move, in a room.

All but `moving` filter in the frequency domain of the whole clip: what rings past its end rings at its start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.data.sounds.clip import Rng, Samples

FRAME_S = 0.032  # of `moving`


@dataclass(frozen=True, slots=True)
class Bands:
    """B resonances at M times evenly through a wave."""

    centres: Samples  # (B, M) log2 of Hz
    levels: Samples  # (B, M) amplitude at the centre
    octaves: Samples  # (B,) widths


def filtered(values: Samples, response: NDArray[np.float64] | NDArray[np.complex128]) -> Samples:
    """Of a response at the frequencies of the values' spectrum."""
    return np.fft.irfft(np.fft.rfft(values) * response, values.size)


def smooth(values: Samples, seconds: float, rate: float) -> Samples:
    """Of a first-order low pass with this time constant."""
    keep = np.exp(-1 / (seconds * rate))
    return filtered(values, (1 - keep) / (1 - keep / _turn(values)))


def resonator(values: Samples, hertz: float, fall: float, rate: float) -> Samples:
    """Of two poles at a frequency; what they ring with falls by e in `fall` seconds."""
    return filtered(values, ringing(values, hertz, fall, rate))


def ringing(values: Samples, hertz: float, fall: float, rate: float) -> NDArray[np.complex128]:
    """The response of `resonator`, to be added to others."""
    keep, turn = np.exp(-1 / (fall * rate)), _turn(values)
    return np.asarray(1 / (1 - 2 * keep * np.cos(2 * np.pi * hertz / rate) / turn + (keep / turn) ** 2))


def colour(size: int, slope: float, rate: float, lowest: float = 20.0) -> Samples:
    """A response that changes by `slope` times 6 dB an octave above `lowest` Hz."""
    return np.asarray(np.maximum(np.fft.rfftfreq(size, 1 / rate), lowest) ** slope)


def moving(wave: Samples, bands: Bands, floor: float, rate: float) -> Samples:
    """The wave through bands that move; short-time spectra, overlapped and added.

    What is far from all bands keeps `floor` of its amplitude.
    """
    size = 2 ** round(np.log2(FRAME_S * rate))
    hop = size // 2
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)).astype(np.float32)
    count = -(-wave.size // hop) + 1
    padded = np.zeros((count + 1) * hop, dtype=np.float32)
    padded[hop : hop + wave.size] = wave
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window)
    pitch = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / rate), 20)).astype(np.float32)
    num_steps = bands.centres.shape[1]
    at = np.minimum(np.arange(count) * num_steps // count, num_steps - 1)
    gain = np.full(spectra.shape, floor, dtype=np.float32)
    for centre, level, width in zip(bands.centres, bands.levels, bands.octaves, strict=True):
        away = (pitch - centre[at, None].astype(np.float32)) / np.float32(width / 2)
        gain += level[at, None].astype(np.float32) / (1 + away**2) ** 2
    frames = np.fft.irfft(spectra * gain, size) * window
    heard = np.zeros((count + 1, hop))
    heard[:-1] += frames[:, :hop]
    heard[1:] += frames[:, hop:]
    return heard.reshape(-1)[hop : hop + wave.size]


def in_a_room(wave: Samples, fall: float, share: float, rng: Rng, rate: float) -> Samples:
    """The wave and its reverberation, noise that falls by e in `fall` seconds, as loud as `share` of it."""
    tail = rng.standard_normal(wave.size) * np.exp(-np.arange(wave.size) / (fall * rate))
    tail *= share / np.sqrt(np.sum(tail**2))
    tail[0] += 1
    return filtered(wave, np.fft.rfft(tail))


def _turn(values: Samples) -> NDArray[np.complex128]:
    """z of a filter's transfer function, at the frequencies of the values' spectrum."""
    return np.asarray(np.exp(2j * np.pi * np.fft.rfftfreq(values.size)))
