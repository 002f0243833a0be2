"""A wave in, its log-mel features out: what `features` does with NumPy, as machine code.

NumPy transforms one frame after the other. Here LANES of them lie side by side, so that each operation is one
of the processor's vectors, and all that is made of them stays in its cache until the energies are there.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_inside, compiles
from jasper.config import FeatureConfig
from jasper.features import analysis_window, mel_filters, num_frames, reflected, take_logarithm
from jasper.types import FloatArray, IntArray

Float64 = NDArray[np.float64]
LANES = 64  # frames; with fewer the loops are too short, with more their arrays leave the cache
LEAST_SHARE = 4 * LANES  # frames that are worth a thread
_reflected: Any = compiled_inside(reflected)


class Plan(NamedTuple):
    """What the loops need of a front end's settings."""

    hop: int  # samples
    begin: int  # the first sample under the window of the first frame; negative: before the wave
    preemphasis: float
    reflect: bool  # how the wave is continued: by its reflection, or by zeros
    window: Float64  # (W,), W even
    cos: Float64  # (n_fft,) of the angles of a whole turn
    sin: Float64
    rows: IntArray  # (n_fft // 2,) where the transform leaves each frequency
    filters: Float64  # (num_mels, n_fft // 2 + 1)
    bands: IntArray  # (num_mels, 2) the frequencies that a filter lets through, half open


class Room(NamedTuple):
    """The memory of LANES frames; lanes past the last frame hold numbers that nobody reads."""

    signal: Float64  # (samples under all their windows,)
    spectra: Float64  # (n_fft // 2, 2 * LANES) real parts, then imaginary ones; two arrays are slower
    power: Float64  # (n_fft // 2 + 1, LANES)
    energy: Float64  # (LANES,) of one band


def compile_features(config: FeatureConfig, threads: int) -> CompiledFeatures | None:
    """The front end of a configuration; None where these loops cannot be it.

    That is where numba is not installed, or where the length of the transform is no power of two, or the
    spectrum's power not 2.
    """
    power_of_two = config.n_fft >= 2 and config.n_fft & (config.n_fft - 1) == 0
    return CompiledFeatures(config, threads) if power_of_two and config.power == 2 and compiles() else None


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads of this process, kept: starting some anew would take as long as they save."""
    return ThreadPoolExecutor(os.cpu_count(), "features")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # no thread outlives a fork


class CompiledFeatures:
    """Runs the loops, for long waves in several threads."""

    def __init__(self, config: FeatureConfig, threads: int) -> None:
        self.config = config
        self.threads = threads
        self.plan = make_plan(config)

    def log_mel(self, wave: FloatArray) -> Float64:
        """See `FeatureExtractor.log_mel`; the wave was checked."""
        frames = num_frames(self.config, wave.size)
        log_mel = np.empty((self.config.num_mels, frames))
        wave = np.ascontiguousarray(wave, dtype=np.float32)
        share = max(LEAST_SHARE, -(-frames // (self.threads * LANES)) * LANES)

        def fill(first: int) -> None:
            end = min(first + share, frames)
            fill_energies(wave, first, end, self.plan, log_mel)
            take_logarithm(log_mel[:, first:end], self.config)

        others = [_pool().submit(fill, first) for first in range(share, frames, share)]
        fill(0)
        for other in others:
            other.result()
        return log_mel

    def normalize(self, log_mel: Float64, features: FloatArray) -> None:
        """Fill features (F, T or more) with log_mel (F, T), normalised per feature."""
        normalize_bands(log_mel, self.config.std_offset, features)


def make_plan(config: FeatureConfig) -> Plan:
    """Work out what does not depend on the wave."""
    n_fft, window, filters = config.n_fft, analysis_window(config), mel_filters(config)
    angles = 2 * np.pi / n_fft * np.arange(n_fft)
    passing = filters > 0
    ends = np.stack([passing.argmax(axis=1), passing.shape[1] - passing[:, ::-1].argmax(axis=1)], axis=1)
    return Plan(
        config.hop_length,
        (n_fft - window.size) // 2 - n_fft // 2,
        config.preemphasis,
        config.edges == "reflect",
        np.append(window, 0.0) if window.size % 2 else window,
        np.cos(angles),
        np.sin(angles),
        _transformed_rows(n_fft // 2),
        filters,
        ends.astype(np.int64),
    )


def _transformed_rows(size: int) -> IntArray:
    """The row in which `_transform` leaves each frequency: its digits, base 4, in reverse."""
    rows, rest, stride = np.zeros(size, dtype=np.int64), np.arange(size), size
    while stride > 1:
        radix = min(4, stride)
        stride //= radix
        rows += rest % radix * stride
        rest //= radix
    return rows


@compiled
def fill_energies(wave: FloatArray, first: int, end: int, plan: Plan, energies: Float64) -> None:
    """Fill in energies (num_mels, T) of a wave (N,), of the frames from `first` to before `end`."""
    half = len(plan.rows)
    room = Room(
        np.empty((LANES - 1) * plan.hop + len(plan.window)),
        np.zeros((half, 2 * LANES)),
        np.empty((half + 1, LANES)),
        np.empty(LANES),
    )
    for start in range(first, end, LANES):
        count = min(LANES, end - start)
        _emphasize(wave, plan.begin + start * plan.hop, plan, room.signal)
        _cut_frames(count, plan, room)
        _transform(plan, room.spectra)
        _take_power(plan, room)
        _sum_bands(plan, room, energies[:, start : start + count])


@compiled_inside
def _emphasize(wave: FloatArray, begin: int, plan: Plan, signal: Float64) -> None:
    """Fill signal (S,) with the wave from `begin` on, pre-emphasised, then continued at its ends."""
    size = len(signal)
    if begin > 0 and begin + size <= len(wave):
        now, before = wave[begin : begin + size], wave[begin - 1 : begin + size - 1]
        for index in range(size):
            signal[index] = now[index] - plan.preemphasis * before[index]
        return
    for index in range(size):
        place = begin + index
        silent = not plan.reflect and (place < 0 or place >= len(wave))
        place = _reflected(place, len(wave))
        before_it = plan.preemphasis * wave[place - 1] if place > 0 else 0.0
        signal[index] = 0.0 if silent else wave[place] - before_it


@compiled_inside
def _cut_frames(count: int, plan: Plan, room: Room) -> None:
    """Lay frames side by side, under the window: even samples as real parts, odd ones as imaginary ones."""
    used = len(plan.window) // 2
    for index in range(used):
        row, samples = room.spectra[index], room.signal[2 * index :]
        even, odd = plan.window[2 * index], plan.window[2 * index + 1]
        for lane in range(count):
            row[lane] = samples[lane * plan.hop] * even
            row[LANES + lane] = samples[lane * plan.hop + 1] * odd
    room.spectra[used:] = 0.0


@compiled_inside
def _transform(plan: Plan, spectra: Float64) -> None:
    """Fourier transform of every lane, in place (Gentleman and Sande's; radix 4, at last 2 where need be)."""
    size, turn = len(spectra), 2  # places in the table of angles from one row to the next
    while size >= 4:
        quarter = size // 4
        for start in range(0, len(spectra), size):
            for step in range(quarter):
                _transform_four(plan, step * turn, spectra[start + step :], quarter)
        size, turn = quarter, 4 * turn
    if size == 2:
        for start in range(0, len(spectra), 2):
            a, b = spectra[start], spectra[start + 1]
            for place in range(2 * LANES):
                a[place], b[place] = a[place] + b[place], a[place] - b[place]


@compiled_inside
def _transform_four(plan: Plan, angle: int, rows: Float64, apart: int) -> None:
    """The first row and the next three, so far `apart`: their transform, turned by 0, 1, 2 and 3 angles."""
    a, b, c, d = rows[0], rows[apart], rows[2 * apart], rows[3 * apart]
    cos_b, cos_c, cos_d = plan.cos[angle], plan.cos[2 * angle], plan.cos[3 * angle]
    sin_b, sin_c, sin_d = plan.sin[angle], plan.sin[2 * angle], plan.sin[3 * angle]
    for re in range(LANES):
        im = LANES + re
        sum_ac, sum_bd = a[re] + c[re], b[re] + d[re]
        isum_ac, isum_bd = a[im] + c[im], b[im] + d[im]
        dif_ac, dif_bd = a[re] - c[re], b[re] - d[re]
        idif_ac, idif_bd = a[im] - c[im], b[im] - d[im]
        a[re], a[im] = sum_ac + sum_bd, isum_ac + isum_bd
        x, y = dif_ac + idif_bd, idif_ac - dif_bd
        b[re], b[im] = x * cos_b + y * sin_b, y * cos_b - x * sin_b
        x, y = sum_ac - sum_bd, isum_ac - isum_bd
        c[re], c[im] = x * cos_c + y * sin_c, y * cos_c - x * sin_c
        x, y = dif_ac - idif_bd, idif_ac + dif_bd
        d[re], d[im] = x * cos_d + y * sin_d, y * cos_d - x * sin_d


@compiled_inside
def _take_power(plan: Plan, room: Room) -> None:
    """The power of each frequency: real and imaginary parts were even and odd samples, one step apart."""
    half, first = len(plan.rows), room.spectra[0]
    for re in range(LANES):
        even, odd = first[re], first[LANES + re]
        room.power[0, re], room.power[half, re] = (even + odd) ** 2, (even - odd) ** 2
    for low in range(1, half // 2 + 1):
        a, b = room.spectra[plan.rows[low]], room.spectra[plan.rows[half - low]]
        power, mirrored = room.power[low], room.power[half - low]
        cos, sin = plan.cos[low], plan.sin[low]
        for re in range(LANES):
            im = LANES + re
            even, ieven = a[re] + b[re], a[im] - b[im]
            odd, iodd = a[im] + b[im], b[re] - a[re]
            x, y = odd * cos + iodd * sin, iodd * cos - odd * sin
            power[re] = ((even + x) ** 2 + (ieven + y) ** 2) * 0.25
            mirrored[re] = ((even - x) ** 2 + (ieven - y) ** 2) * 0.25


@compiled_inside
def _sum_bands(plan: Plan, room: Room, energies: Float64) -> None:
    """Sum the weighed power of every filter's band into energies (num_mels, count)."""
    for band in range(len(energies)):
        room.energy[:] = 0.0
        for frequency in range(plan.bands[band, 0], plan.bands[band, 1]):
            weight, power = plan.filters[band, frequency], room.power[frequency]
            for lane in range(LANES):
                room.energy[lane] += weight * power[lane]
        for lane in range(energies.shape[1]):
            energies[band, lane] = room.energy[lane]


@compiled
def normalize_bands(log_mel: Float64, std_offset: float, features: FloatArray) -> None:
    """What `jasper.features.normalize` does per feature, band by band: log_mel (F, T) to features."""
    frames = log_mel.shape[1]
    centred, ones, sums = np.empty(frames), np.ones(frames), np.empty(LANES)
    for band in range(len(log_mel)):
        row, result = log_mel[band], features[band]
        mean = _dot(row, ones, sums) / frames
        for frame in range(frames):
            centred[frame] = row[frame] - mean
        spread = math.sqrt(_dot(centred, centred, sums) / max(frames - 1, 1)) + std_offset
        for frame in range(frames):
            result[frame] = centred[frame] / spread


@compiled_inside
def _dot(a: Float64, b: Float64, sums: Float64) -> float:
    """The inner product, by LANES sums: one alone would wait for each addition to be done."""
    sums[:] = 0.0
    whole = len(a) // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            sums[lane] += a[start + lane] * b[start + lane]
    total = 0.0
    for lane in range(LANES):
        total += sums[lane]
    for place in range(whole, len(a)):
        total += a[place] * b[place]
    return total
