"""Waves in, changed waves and SpecAugment's spans out: a function of (seed, epoch, utterance)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.audio import read_audio, resample
from jasper.config import AugmentConfig
from jasper.data.manifest import read_manifest
from jasper.types import FloatArray, Utterance

NOISE_ONLY_DB = (-55.0, -15.0)  # of full scale, root mean square: from a quiet room to next to it
SHORTEST_NOISE_S = 0.5


@dataclass(frozen=True, slots=True)
class Spans:
    """Half-open spans to hide: freq (num_masks, 2) in mel bins, time (num_masks, 2) in frames."""

    freq: NDArray[np.int64]
    time: NDArray[np.int64]


def utterance_rng(seed: int, epoch: int, utterance_id: str) -> np.random.Generator:
    """A generator that depends on these three alone, not on the worker, the batch or the past."""
    digest = hashlib.blake2b(utterance_id.encode(), digest_size=8).digest()
    return np.random.default_rng((seed, epoch, int.from_bytes(digest, "little")))


def speed_factors(config: AugmentConfig, seed: int, epoch: int, ids: Iterable[str]) -> NDArray[np.float64]:
    """How fast each utterance (N,) is played in an epoch, known before it is read: batches are cut by it.

    A function of (seed, epoch, id) as `utterance_rng` is, for hundreds of thousands at once.
    """
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids)
    state = np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    state ^= np.random.SeedSequence((seed, epoch, 0x40)).generate_state(1, np.uint64)
    chosen, place = _uniform(state, 1), _uniform(state, 2)
    low, high = config.speed
    return np.where(chosen < config.speed_probability, low + (high - low) * place, 1.0)


def _uniform(state: NDArray[np.uint64], draw: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), the draw-th of each state: SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = state + np.uint64(draw * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


class Augmenter:
    """Speed, noise and gain on the wave, noise in place of it; spans for the features."""

    def __init__(self, config: AugmentConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.noise: Sequence[Utterance] = [clip for path in config.noise for clip in read_manifest(path)]

    def augment_wave(self, wave: FloatArray, rng: np.random.Generator, speed: float = 1.0) -> FloatArray:
        """Change speed (and pitch), mix in noise, change the level: a new wave (N',) within [-1, 1]."""
        config = self.config
        if speed != 1.0:
            wave = change_speed(wave, speed)
        if self.noise and rng.random() < config.noise_probability:
            wave = mix(wave, self._noise(wave.size, rng), rng.uniform(*config.noise_snr_db))
        if config.gain_db != (0.0, 0.0):
            wave = wave * np.float32(10 ** (rng.uniform(*config.gain_db) / 20))
        return np.clip(wave, -1, 1)

    def leaves_out_speech(self, rng: np.random.Generator) -> bool:
        """Whether noise alone stands for the utterance this time."""
        probability = self.config.noise_only_probability
        return probability > 0 and bool(rng.random() < probability)

    def noise_only(self, seconds: float, rng: np.random.Generator) -> FloatArray:
        """Noise (N,) of NOISE_ONLY_DB that stands for an utterance, at most as long and often shorter.

        A recording is cut at its pauses, so the windows of noise that are transcribed are of any length.
        """
        length = rng.uniform(min(SHORTEST_NOISE_S, seconds), seconds)
        noise = self._noise(max(1, round(length * self.sample_rate)), rng)
        level = float(np.sqrt(np.mean(noise**2)))
        wanted = 10 ** (rng.uniform(*NOISE_ONLY_DB) / 20)
        return noise if level == 0 else np.clip(noise * np.float32(wanted / level), -1, 1)

    def draw_spans(self, num_mels: int, num_frames: int, rng: np.random.Generator) -> Spans:
        """Draw SpecAugment's spans (Park et al. 2019) for features (num_mels, num_frames)."""
        config = self.config
        time_width = min(config.time_width, int(config.time_fraction * num_frames))
        return Spans(
            freq=_spans(config.freq_masks, min(config.freq_width, num_mels), num_mels, rng),
            time=_spans(config.time_masks, time_width, num_frames, rng),
        )

    def _noise(self, num_samples: int, rng: np.random.Generator) -> FloatArray:
        """A random stretch of a random clip, repeated if it is too short."""
        clip = self.noise[int(rng.integers(len(self.noise)))]
        seconds = num_samples / self.sample_rate
        start = rng.uniform(0, max(0.0, clip.duration - seconds))
        span = min(seconds, clip.duration - start)
        offset = (clip.offset or 0.0) + start
        noise = read_audio(clip.path, self.sample_rate, offset=offset, duration=span, member=clip.member)
        return np.asarray(np.resize(noise, num_samples), dtype=np.float32)


def change_speed(wave: FloatArray, factor: float) -> FloatArray:
    """Play `factor` times as fast, pitch and all."""
    # Whole rates, as fine as 1 in 1000: soxr then keeps its filters small.
    return resample(wave, round(1000 * factor), 1000)


def mix(wave: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Add noise at a signal-to-noise ratio over the whole wave; silent noise or speech adds nothing."""
    power, noise_power = float(np.mean(wave**2)), float(np.mean(noise**2))
    if power == 0 or noise_power == 0:
        return wave
    scale = np.sqrt(power / noise_power / 10 ** (snr_db / 10))
    return np.asarray(wave + scale * noise, dtype=np.float32)


def _spans(count: int, width: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    widths = rng.integers(0, width + 1, size=count)
    starts = (rng.random(count) * (size - widths + 1)).astype(np.int64)
    return np.stack([starts, starts + widths], axis=1).reshape(count, 2)
