"""Texts in, recordings of them in many synthetic voices out, to add to real ones that are too few."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from jasper.audio import resample
from jasper.data.manifest import write_manifest
from jasper.demo.corpus import VARIANTS, draw_speakers, in_a_room
from jasper.demo.espeak import Synthesizer
from jasper.errors import TextError
from jasper.progress import track
from jasper.types import Utterance


def speak_texts(
    directory: str | Path,
    texts: Sequence[str],
    *,
    num_voices: int = 40,
    sample_rate: int = 16000,
    seed: int = 0,
) -> Path:
    """Speak every text in `num_voices` English voices of espeak-ng; returns the manifest.

    Writes FLAC clips of 16 bits and `manifest.jsonl`, whose speakers are the voices. The same arguments give
    the same files. MissingExtraError where espeak-ng is not installed, TextError where there is no text.
    """
    texts = [text.strip() for text in texts if text.strip()]
    if not texts:
        raise TextError("there is no text to speak")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    speakers = draw_speakers(sum(VARIANTS.values(), ()), rng)
    if num_voices > len(speakers):
        raise TextError(f"{num_voices} voices were asked for, there are {len(speakers)}")
    chosen = sorted(rng.sample(sorted(speakers), num_voices))
    synthesizer = Synthesizer()
    utterances: list[Utterance] = []
    for speaker, (number, text) in track(
        [(speaker, item) for speaker in chosen for item in enumerate(texts)], "speaking"
    ):
        wave, rate = synthesizer.speak(text, speakers[speaker])
        wave = in_a_room(
            resample(wave, rate, sample_rate), sample_rate, np.random.default_rng((seed, len(utterances)))
        )
        path = directory / f"{speaker}-{number:05d}.flac"
        soundfile.write(path, wave, sample_rate, subtype="PCM_16")
        utterances.append(Utterance(path.stem, path, text, wave.size / sample_rate, speaker=speaker))
    write_manifest(directory / "manifest.jsonl", utterances)
    return directory / "manifest.jsonl"
