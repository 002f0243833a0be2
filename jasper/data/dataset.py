"""Utterances in, `Batch` out: reading, augmenting and padding, in NumPy, in any worker process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jasper.audio import read_audio, trim_silence
from jasper.config import Config
from jasper.data.augment import Augmenter, Spans, speed_factors, utterance_rng
from jasper.data.mindrecord import need_sound, read_features
from jasper.errors import AudioError, TextError
from jasper.features import FeatureExtractor, num_frames
from jasper.text import Tokenizer, get_normalizer, min_frames
from jasper.types import FloatArray, IntArray, Utterance

T = TypeVar("T", np.float32, np.int64)


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance, ready: wave (N,), tokens, and what SpecAugment hides in each view of it.

    Where features (F, T) are stored the wave is as long as they stand for, and says nothing.
    """

    id: str
    wave: FloatArray
    tokens: IntArray
    views: tuple[Spans, ...]
    features: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded together; `lengths` in samples, `token_lengths` in tokens.

    Either waves (B, N), or features (B, F, T) where the workers compute them, and then waves is (B, 0).
    tokens (B, U) padded with 0, freq_spans and time_spans (V, B, num_masks, 2) of V views.
    `faults` are the utterances that could not be used, with the reason.
    """

    ids: tuple[str, ...]
    waves: FloatArray
    lengths: IntArray
    tokens: IntArray
    token_lengths: IntArray
    freq_spans: IntArray
    time_spans: IntArray
    faults: tuple[str, ...] = ()
    features: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.ids)


def read_utterance(
    utterance: Utterance, sample_rate: int, *, channel: int | None = None, trim: bool = False
) -> FloatArray:
    """Read the wave (N,) of an utterance: the whole file unless the manifest gives an offset.

    Joined utterances are read part by part, with digital silence for their pauses. Raises AudioError.
    """
    need_sound(utterance)
    if utterance.parts:
        pieces: list[FloatArray] = []
        for part, pause in zip(utterance.parts, utterance.pauses, strict=True):
            pieces.append(read_utterance(part, sample_rate, channel=channel, trim=trim))
            pieces.append(np.zeros(round(pause * sample_rate), dtype=np.float32))
        return np.concatenate(pieces)
    # A stated duration that is too short must not cut off speech whose transcript is kept.
    duration = None if utterance.offset is None else utterance.duration
    offset = utterance.offset or 0.0
    wave = read_audio(
        utterance.path,
        sample_rate,
        offset=offset,
        duration=duration,
        channel=channel,
        member=utterance.member,
    )
    return trim_silence(wave, sample_rate) if trim else wave


class TrainingSet:
    """Turns utterances into examples; the same example for the same (seed, epoch, utterance), always.

    With `with_features` it computes the features too: on a CPU NumPy is several times as fast at it as
    PyTorch, and the work is the workers'. Otherwise that is left to the device that trains.
    """

    def __init__(self, config: Config, with_features: bool = False) -> None:
        self.config, self.with_features = config, with_features
        # The same loops from the first utterance to the last: a resumed run must come to the same bits.
        self.extractor = FeatureExtractor(config.features, patience=math.inf)
        self.tokenizer = Tokenizer(config.text.labels, config.text.subwords)
        self.normalize = get_normalizer(config.text.normalizer)
        self.augmenter = Augmenter(config.augment, config.features.sample_rate)

    def example(self, utterance: Utterance, epoch: int) -> Example:
        """Read and augment one utterance, or noise that stands for it. Raises AudioError or TextError."""
        config = self.config
        rng = utterance_rng(config.train.seed, epoch, utterance.id)
        features = None
        if utterance.has_features:
            features, text = read_features(utterance, config.features.num_features), utterance.text
            samples = features.shape[1] * config.features.hop_length
            wave = np.broadcast_to(np.float32(0), samples)  # which takes no memory
        else:
            wave, text = self._sound(utterance, epoch, rng)
        frames = num_frames(config.features, wave.size)
        views = tuple(
            self.augmenter.draw_spans(config.features.num_features, frames, rng)
            for _ in range(config.loss.num_views)
        )
        tokens = np.array(self.tokenizer.encode(self.normalize(text)), dtype=np.int64)
        return Example(utterance.id, wave, tokens, views, features)

    def _sound(self, utterance: Utterance, epoch: int, rng: np.random.Generator) -> tuple[FloatArray, str]:
        """The wave (N,) that an utterance has in an epoch, and what is said in it."""
        config = self.config
        sample_rate = config.features.sample_rate
        if self.augmenter.leaves_out_speech(rng):
            wave, text = self.augmenter.noise_only(utterance.duration, rng), ""
        else:
            wave = read_utterance(
                utterance, sample_rate, channel=config.data.channel, trim=config.data.trim_silence
            )
            text = utterance.text
        (speed,) = speed_factors(config.augment, config.train.seed, epoch, [utterance.id])
        wave = self.augmenter.augment_wave(wave, rng, float(speed))
        if self.with_features and config.features.dither:
            noise = rng.standard_normal(wave.size, dtype=np.float32)
            wave = wave + np.float32(config.features.dither) * noise
        return wave, text

    def batch(self, utterances: Sequence[Utterance], epoch: int) -> Batch:
        """Make one batch; what cannot be read is left out and named in `faults`."""
        examples: list[Example] = []
        faults: list[str] = []
        for utterance in utterances:
            try:
                example = self.example(utterance, epoch)
                self._check_feasible(example)
                examples.append(example)
            except (AudioError, TextError) as error:
                faults.append(f"{utterance.id}: {error}")
        batch = collate(examples, tuple(faults))
        if not examples or not (self.with_features or any(e.features is not None for e in examples)):
            return batch
        return replace(batch, waves=batch.waves[:, :0].copy(), features=self._features(examples))

    def _features(self, examples: Sequence[Example]) -> FloatArray:
        """Stored or computed features (B, F, T), zero past each row's end."""
        rows = [e.features if e.features is not None else self.extractor([e.wave])[0][0] for e in examples]
        return _pad(rows, np.float32)

    def _check_feasible(self, example: Example) -> None:
        """CTC has no path, and an infinite loss, where the transcript needs more steps than there are."""
        frames = num_frames(self.config.features, example.wave.size)
        steps, needed = self.config.network.num_steps(frames), min_frames(example.tokens.tolist())
        if needed > steps:
            raise TextError(f"the transcript needs {needed} output steps, the audio gives {steps}")


def collate(examples: Sequence[Example], faults: tuple[str, ...] = ()) -> Batch:
    """Pad examples together, to the longest of them."""
    waves = [example.wave for example in examples]
    tokens = [example.tokens for example in examples]
    views = list(zip(*(example.views for example in examples), strict=True))
    no_spans = np.zeros((0, 0, 0, 2), dtype=np.int64)
    return Batch(
        ids=tuple(example.id for example in examples),
        waves=_pad(waves, np.float32),
        lengths=np.array([wave.size for wave in waves], dtype=np.int64),
        tokens=_pad(tokens, np.int64),
        token_lengths=np.array([row.size for row in tokens], dtype=np.int64),
        freq_spans=np.array([[spans.freq for spans in view] for view in views]) if examples else no_spans,
        time_spans=np.array([[spans.time for spans in view] for view in views]) if examples else no_spans,
        faults=faults,
    )


def _pad(rows: Sequence[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    """Rows (…, N) as one array (B, …, N), zeros past the ends of the shorter ones."""
    shape: tuple[int, ...] = rows[0].shape[:-1] if rows else ()
    padded = np.zeros((len(rows), *shape, max((row.shape[-1] for row in rows), default=0)), dtype=dtype)
    for index, row in enumerate(rows):
        padded[index, ..., : row.shape[-1]] = row
    return padded
