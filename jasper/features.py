"""Waves in, normalised log-mel features out: the Jasper front end in NumPy, for inference on every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jasper.config import FeatureConfig
from jasper.errors import AudioError
from jasper.types import FloatArray, IntArray

if TYPE_CHECKING:
    from jasper.compiled_features import CompiledFeatures

N = TypeVar("N", bound=Any)  # int, NumPy array or tensor
Float64 = NDArray[np.float64]
# Seconds of sound that NumPy transforms before compiled loops are loaded, where numba is there. That takes as
# long as NumPy did until then, 0.3 s, so that a short command never pays for it.
PATIENCE = 600.0
# Multiplications in a matrix product that OpenBLAS leaves to one thread: more threads take longer to start.
ONE_THREAD = 1 << 18


class FeatureExtractor:
    """Log-mel features, the same for a clip alone and in a batch.

    Steps: pre-emphasis, short-time Fourier transform (frames centred on multiples of the hop, the wave
    continued at both ends by `config.edges`, symmetric window centred in the transform), power,
    Slaney mel filters, logarithm, repetition, and normalisation, mostly over each utterance's valid frames
    (unbiased standard deviation).
    Computed in double precision: in bands that hold almost no energy, such as those above 4 kHz in
    telephone speech, single precision would leave rounding noise where the logarithm looks. Compiled loops
    take single precision where it leaves none that matters.
    """

    def __init__(self, config: FeatureConfig, *, threads: int = 1, patience: float = PATIENCE) -> None:
        """After `patience` seconds of sound loops that numba compiles take over, in up to `threads` threads.

        Features then differ by some 1e-4 of a standard deviation, `log_mel` by 1e-13. Where every bit is to
        be the same again, patience is to be 0 or without end.
        """
        self.config = config
        self.threads = threads
        self.window = analysis_window(config)
        self.filters = mel_filters(config)
        self._patience = patience * config.sample_rate  # samples that NumPy will yet transform
        self._compiled: CompiledFeatures | None = None
        self._count(0)

    def __call__(self, waves: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
        """Compute the features of waves, each (N,) at `config.sample_rate`.

        Returns features (B, num_features, T) float32, zero past each row's length, and lengths (B,) in
        frames.
        Raises AudioError for a wave that is empty, not one-dimensional or not finite.
        """
        for wave in waves:
            check_shape(wave)
        lengths = np.array([self.num_frames(wave.size) for wave in waves], dtype=np.int64)
        # One frame at least: a wave shorter than a hop may have no valid one, and no engine runs on nothing.
        shape = (len(waves), self.config.num_features, int(lengths.max(initial=1)))
        features = np.empty(shape, dtype=np.float32)
        for row, wave, length in zip(features, waves, lengths.tolist(), strict=True):
            row[:, length:] = 0
            if self._compiled and self.config.normalize == "per_feature":
                self._compiled.fill(wave, row)
            else:
                row[:, :length] = normalize(self.log_mel(wave), self.config)
        return features, lengths

    def num_frames(self, num_samples: int) -> int:
        """Valid frames of a wave of `num_samples`."""
        return num_frames(self.config, num_samples)

    def log_mel(self, wave: FloatArray) -> Float64:
        """Features (num_features, T) of one wave (N,), not normalised. Raises AudioError as for several."""
        check_wave(wave)
        self._count(wave.size)
        if self._compiled:
            return self._compiled.log_mel(wave)
        energies = self._energies(wave)
        if self.config.log:
            take_logarithm(energies, self.config)
        times = self.config.frame_splicing
        return np.tile(energies, (times, 1)) if times > 1 else energies

    def _count(self, num_samples: int) -> None:
        """Change over to compiled loops when patience ends."""
        if self._patience < 0:
            return
        self._patience -= num_samples
        if self._patience <= 0:
            from jasper.compiled_features import compile_features  # it loads a compiler

            self._patience = -1
            self._compiled = compile_features(self.config, self.threads)

    def _energies(self, wave: FloatArray) -> Float64:
        """The energies (num_mels, T) that the filters let through of a wave (N,)."""
        config = self.config
        signal = wave.astype(np.float64)
        signal[1:] -= config.preemphasis * signal[:-1]
        signal[max(0, signal.size - config.num_silenced) :] = 0
        signal = _continued(signal, config.margin, config.n_fft - config.margin, config.edges)
        # Only what is under the window: where it stands in the transform turns phases and leaves the power.
        signal = signal[(config.n_fft - config.window_length) // 2 :]
        framed = np.lib.stride_tricks.sliding_window_view(signal, config.window_length)[:: config.hop_length]
        frames = self.num_frames(wave.size)
        mel = np.empty((config.num_mels, frames))
        step = max(1, ONE_THREAD // self.filters.size)  # so few frames that their arrays stay in the cache
        for start in range(0, frames, step):
            block = slice(start, min(start + step, frames))
            spectrum = np.fft.rfft(framed[block] * self.window, config.n_fft)
            parts = spectrum.view(np.float64)
            parts *= parts
            power = parts[:, ::2] + parts[:, 1::2]
            if config.power != 2:
                power **= config.power / 2
            mel[:, block] = self.filters @ power.T
        return mel


def take_logarithm(energies: NDArray[np.floating], config: FeatureConfig) -> None:
    """Put the logarithm in place of energies, which `config` keeps from being zero."""
    if config.log_guard == "add":
        energies += config.log_offset
    else:
        np.maximum(energies, config.log_offset, out=energies)
    np.log(energies, out=energies)


def num_frames(config: FeatureConfig, num_samples: N) -> N:
    """Valid frames of `num_samples` samples, an int or any array of them, by `config.frame_count`."""
    hop = config.hop_length
    samples: Any = num_samples
    frames: Any = -(-samples // hop) if config.frame_count == "ceil" else samples // hop
    if config.exact_pad:
        frames = frames + -frames // (frames + 1)  # one less, but not of 0: a graph's integers know no max
    counted: N = frames
    return counted


def check_wave(wave: FloatArray) -> None:
    """Raise AudioError unless the wave is one-dimensional, finite and not empty."""
    check_shape(wave)
    if not np.isfinite(wave).all():
        raise AudioError("the wave has samples that are not finite")


def check_shape(wave: FloatArray) -> None:
    """Raise AudioError unless the wave is one-dimensional and not empty."""
    if wave.ndim != 1:
        raise AudioError(f"a wave has one dimension, this one has shape {wave.shape}")
    if wave.size == 0:
        raise AudioError("the wave is empty")


def _continued(signal: Float64, before: int, after: int, edges: str) -> Float64:
    """A signal (N,) with so many more samples before and after it: its reflection, or zeros."""
    result = np.pad(signal, (before, after))
    if edges == "reflect":
        end = before + signal.size
        result[:before] = signal[reflected(np.arange(-before, 0), signal.size)]
        result[end:] = signal[reflected(np.arange(signal.size, signal.size + after), signal.size)]
    return result


def reflected(places: N, num_samples: int) -> N:
    """Which of the samples (any number ≥ 1) stands at each place, if they are reflected at their ends."""
    period = max(2 * (num_samples - 1), 1)
    phases: Any = np.abs(places) % period
    inside: N = np.minimum(phases, period - phases)
    return inside


def normalize(log_mel: Float64, config: FeatureConfig, over: Float64 | None = None) -> Float64:
    """Take mean and standard deviation (unbiased) of valid frames (F, T), or of those `over`, out of them."""
    if config.normalize == "none" or log_mel.shape[1] == 0:
        return log_mel
    if config.normalize == "fixed":
        return np.asarray((log_mel - column(config.fixed_mean)) / column(config.fixed_std))
    axis = 1 if config.normalize == "per_feature" else None
    mean = (log_mel if over is None else over).mean(axis=axis, keepdims=True)
    centred = log_mel - mean
    squares = np.square(centred if over is None else over - mean)
    count = squares.shape[1] if axis == 1 else squares.size
    spread = np.sqrt(squares.sum(axis=axis, keepdims=True) / max(count - 1, 1))  # that of one value is 0
    return np.asarray(centred / (spread + config.std_offset))


def column(values: Sequence[float] | None) -> Float64:
    """A number for each feature, as (F, 1)."""
    return np.array(values, dtype=np.float64)[:, None]


_WINDOWS: dict[str, Callable[[int], Any]] = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "bartlett": np.bartlett,
    "rectangular": np.ones,
}


def analysis_window(config: FeatureConfig) -> Float64:
    """The symmetric window (window_length,) under which each frame is transformed."""
    return np.asarray(_WINDOWS[config.window](config.window_length), dtype=np.float64)


def mel_filters(config: FeatureConfig) -> Float64:
    """Triangular filters on Slaney's mel scale (num_mels, n_fft // 2 + 1), by default each of unit area."""
    fmax = config.fmax if config.fmax is not None else config.sample_rate / 2
    edges = _mel_to_hz(np.linspace(_hz_to_mel(config.fmin), _hz_to_mel(fmax), config.num_mels + 2))
    bins = np.linspace(0.0, config.sample_rate / 2, config.n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if config.mel_norm == "slaney":
        filters *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(filters)


# Slaney's scale (Auditory Toolbox, 1998): linear below 1 kHz, 27 steps per factor of 6.4 above it.
_LINEAR_HZ = 200.0 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < _KNEE_HZ else float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: Float64) -> Float64:
    curved = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.asarray(np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ, curved))
