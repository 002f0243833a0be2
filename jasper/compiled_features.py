"""A wave in, its normalised log-mel features out, by compiled loops, in several threads for long waves."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from jasper.compiled import compiled, compiled_inside, compiles
from jasper.compiled_energies import LANES, Float, Plan, fill_energies, make_plan
from jasper.config import FeatureConfig
from jasper.features import Float64, check_wave, num_frames
from jasper.types import FloatArray

# Frames that are worth a call, or a thread: those that ran a network turn round and round for a while in wait
# for the next one, so that another thread would take the core of the one that called it.
CHUNK = 32 * LANES
# Where features are computed in single precision. Rounding leaves some 2^-24 of a frame's loudest sound in
# all of its bands, so no band may be louder than LOUDEST, the least that the logarithm sees is to be far
# more than the energy of that, and no band may be so constant that normalising makes its rounding large.
LEAST_OFFSET = 2.0**-24
LOUDEST = 2.5  # logarithm of an energy: of speech that fills the scale
LEAST_SPREAD = 0.3  # standard deviation of a logarithm


def compile_features(config: FeatureConfig, threads: int) -> CompiledFeatures | None:
    """The front end of a configuration; None where these loops cannot be it.

    That is where numba is not installed, where the length of the transform is no power of two, the
    spectrum's power not 2, or for settings that only NeMo knows.
    """
    power_of_two = config.n_fft >= 2 and config.n_fft & (config.n_fft - 1) == 0
    usual = config.log and not config.exact_pad and config.frame_splicing == 1
    known = power_of_two and config.power == 2 and usual
    return CompiledFeatures(config, threads) if known and compiles() else None


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
        self.double = make_plan(config, np.float64)
        self.single = make_plan(config, np.float32)
        # Whether that may do. Frames with gaps between them would not tell that a sample is not finite.
        self.precise = config.log_offset >= LEAST_OFFSET and config.hop_length <= config.window_length

    def log_mel(self, wave: FloatArray) -> Float64:
        """See `FeatureExtractor.log_mel`; the wave was checked."""
        log_mel: Float64 = np.empty((self.config.num_mels, num_frames(self.config, wave.size)))
        self._fill(np.ascontiguousarray(wave, dtype=np.float32), self.double, log_mel)
        return log_mel

    def fill(self, wave: FloatArray, features: FloatArray) -> None:
        """Fill features (F, T or more, zero past T) with those of a wave (N,), normalised per feature.

        Raises AudioError as `FeatureExtractor` does.
        """
        wave = np.ascontiguousarray(wave, dtype=np.float32)
        frames, offset = num_frames(self.config, wave.size), self.config.std_offset
        if self.precise:
            self._fill(wave, self.single, features)
            loudest = features.max()  # nan where a sample is not finite
            spread = normalize_bands(features, frames, offset, features)
            if loudest <= LOUDEST and spread >= LEAST_SPREAD:
                check_wave(wave[-2 * self.config.hop_length :])  # no frame sees them all
                return
        check_wave(wave)
        normalize_bands(self.log_mel(wave), frames, offset, features)

    def _fill(self, wave: FloatArray, plan: Plan, log_mel: Float) -> None:
        """Fill log_mel (F, T or more) in chunks; a thread that is done with one takes the next."""
        frames = num_frames(self.config, wave.size)
        chunks = iter(range(0, frames, CHUNK))

        def work() -> None:
            for first in chunks:
                end = min(first + CHUNK, frames)
                fill_energies(wave, first, end, plan, log_mel)
                np.log(log_mel[:, first:end], out=log_mel[:, first:end])

        others = [_pool().submit(work) for _ in range(min(self.threads, frames // CHUNK) - 1)]
        work()
        for other in others:
            if not other.cancel():  # one that has not begun is not waited for
                other.result()


@compiled
def normalize_bands(log_mel: Float, frames: int, std_offset: float, features: FloatArray) -> float:
    """What `jasper.features.normalize` does per feature, to the first `frames` of each band.

    log_mel and features, (F, T or more), may be the same array. Returns the bands' least
    standard deviation.
    """
    if frames == 0:
        return 0.0
    centred, ones, sums = np.empty(frames), np.ones(frames), np.empty(LANES)
    least = np.inf
    for band in range(len(log_mel)):
        row, result = log_mel[band, :frames], features[band]
        mean = _dot(row, ones, sums) / frames
        for frame in range(frames):
            centred[frame] = row[frame] - mean
        deviation = math.sqrt(_dot(centred, centred, sums) / max(frames - 1, 1))
        least, scale = min(least, deviation), 1 / (deviation + std_offset)
        for frame in range(frames):
            result[frame] = centred[frame] * scale
    return least


@compiled_inside
def _dot(a: Float, b: Float, sums: Float) -> float:
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
