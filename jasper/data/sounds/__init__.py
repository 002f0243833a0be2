"""A seed in, clips in which nobody speaks and their manifest out: noise for `augment.noise`.

The public name is `write_sounds`; `kinds` and `music` have sounds with a name, `synthesizer` those without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from jasper.data.manifest import read_manifest, write_manifest
from jasper.data.sounds.clip import Clip, Rng, Samples, log_uniform
from jasper.data.sounds.kinds import KINDS
from jasper.data.sounds.music import music
from jasper.data.sounds.synthesizer import synthesize
from jasper.errors import ConfigError
from jasper.progress import track
from jasper.types import FloatArray, Utterance

__all__ = ["SOUNDS", "make_sound", "write_sounds"]

MANIFEST_FILE = "manifest.jsonl"
SOUNDS: dict[str, Callable[[Rng, Clip], Samples]] = {**KINDS, "music": music}
SYNTHESIZED = 0.7  # of the clips; the others are of kinds with a name
SHORTEST_S, LONGEST_S = 1.0, 300.0  # a clip is made in memory, whole
RATES = (8000, 48000)  # Hz
PEAK = (0.1, 0.95)
STRETCH_S = 0.25
HEARD_DB = 60.0  # a stretch that is so much softer than the loudest is silent


def write_sounds(
    directory: str | Path,
    *,
    num_clips: int = 1000,
    seconds: float = 10.0,
    sample_rate: int = 16000,
    seed: int = 1,
) -> Path:
    """Write clips of sounds in which nobody speaks; returns their manifest, for `augment.noise`.

    Writes FLAC of 16 bits and, last of all, `manifest.jsonl`, whose texts are empty. The same arguments give
    the same files, and more clips begin with those of fewer. ConfigError where there is nothing to make, a
    length or a rate is out of range, or the folder cannot be written or has a manifest of speech.
    """
    _check(num_clips, seconds, sample_rate, seed)
    directory = Path(directory)
    utterances = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove(directory / MANIFEST_FILE)
        for number in track(range(num_clips), "making sounds"):
            kind, wave = make_sound(number, seconds=seconds, sample_rate=sample_rate, seed=seed)
            path = directory / f"{kind}-{number:06d}.flac"
            soundfile.write(path, wave, sample_rate, subtype="PCM_16")
            utterances.append(Utterance(path.stem, path, "", wave.size / sample_rate))
    except (OSError, soundfile.LibsndfileError) as error:
        raise ConfigError(
            f"{directory}: cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from None
    write_manifest(directory / MANIFEST_FILE, utterances)
    return directory / MANIFEST_FILE


def make_sound(
    number: int, *, seconds: float = 10.0, sample_rate: int = 16000, seed: int = 1
) -> tuple[str, FloatArray]:
    """Clip `number` of a seed: the kind of sound, and its wave (N,) in [-1, 1] at `sample_rate`."""
    _check(1, seconds, sample_rate, seed)
    rng, clip = np.random.default_rng((seed, number)), Clip(seconds, sample_rate)
    while True:
        kind = "synthesized"
        if rng.random() >= SYNTHESIZED:
            kind = list(SOUNDS)[int(rng.integers(len(SOUNDS)))]
        wave = synthesize(rng, clip) if kind == "synthesized" else SOUNDS[kind](rng, clip)
        if _is_heard(wave, sample_rate):
            level = log_uniform(rng, *PEAK) / np.abs(wave).max()
            return kind, (level * wave).astype(np.float32)


def _remove(manifest: Path) -> None:
    """A manifest of other sounds: it would fit half of the files if the new ones were interrupted."""
    if manifest.is_file() and any(utterance.text for utterance in read_manifest(manifest)):
        raise ConfigError(f"{manifest} is of speech; make a folder for the sounds")
    manifest.unlink(missing_ok=True)


def _check(num_clips: int, seconds: float, sample_rate: int, seed: int) -> None:
    if num_clips < 1:
        raise ConfigError(f"{num_clips} clips were asked for; one is the least")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ConfigError(
            f"{seconds:g} s is no length of a clip; it is from {SHORTEST_S:g} to {LONGEST_S:g} s"
        )
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise ConfigError(f"{sample_rate} Hz is out of range: sounds are made at {RATES[0]} to {RATES[1]} Hz")
    if seed < 0:
        raise ConfigError(f"the seed {seed} is negative")


def _is_heard(wave: Samples, sample_rate: int) -> bool:
    """Whether there is sound in half of its stretches."""
    size = round(STRETCH_S * sample_rate)
    energy = (wave[: wave.size // size * size].reshape(-1, size) ** 2).mean(axis=1)
    return bool(np.isfinite(energy).all() and np.median(energy) > energy.max() * 10 ** (-HEARD_DB / 10))
