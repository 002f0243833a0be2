"""Chunks of sound in while they are said, partial and final words out; final words never change."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from jasper.errors import AudioError
from jasper.features import check_wave, normalize
from jasper.model import Recognition
from jasper.nonspeech import hush
from jasper.pauses import BoolArray, quiet
from jasper.types import FloatArray, Word

if TYPE_CHECKING:
    from jasper.model import Model

Float64 = NDArray[np.float64]

INT16_SCALE = 32768


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Delay against accuracy and work; all in seconds of sound."""

    step: float = 0.5  # the network runs so often
    look_ahead: float = 1.5  # after the end of a word, before it is final; a pause makes it final at once
    context: float = 6.0  # before what is not final that the network sees again
    memory: float = 10.0  # of speech that features are normalised over
    warm_up: float = 3.0  # of speech before the first word is final: less has no mean worth the name
    pause: float = 0.8  # ends an utterance
    margin: float = 0.3  # of a pause stays before an utterance
    longest: float = 20.0  # without a final word; then all words are final

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that cannot be; only look_ahead may be infinite."""
        for name in ("step", "memory", "pause", "longest"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} of a stream must be above 0, not {getattr(self, name)}")
        for name in ("context", "warm_up", "margin"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} of a stream must be at least 0, not {getattr(self, name)}")
        if not self.look_ahead >= 0:
            raise ValueError(f"look_ahead of a stream must be at least 0, not {self.look_ahead}")


@dataclass(frozen=True, slots=True)
class Update:
    """What a chunk changed: words that became final, and those after them as they stand now."""

    final: tuple[Word, ...] = ()
    partial: tuple[Word, ...] = ()
    ended: bool = False  # a pause, or the end of the sound, ended an utterance in this chunk


class Stream:
    """The words of sound that is still being said.

    Every `step` the network runs over what is not final yet and the `context` before it. Features are
    normalised over the last `memory` of speech, pauses left out, which stands in for the utterance that
    nobody has heard to its end. What is said does not depend on how the sound is cut into chunks.
    """

    def __init__(self, model: Model, config: StreamConfig, sample_rate: int | None = None) -> None:
        """Listen with a model to sound at `sample_rate` Hz, the model's own where none is given.

        Raises ValueError for a rate that is none.
        """
        if sample_rate is not None and not sample_rate > 0:
            raise ValueError(f"sample_rate of a stream must be above 0, not {sample_rate}")
        self.model, self.config = model, config
        self.sound = _Sound(model)
        self.hop = model.config.features.hop_length / model.sample_rate  # s
        self.speech: Float64 = np.zeros((model.config.features.num_features, 0))
        self.looked = 0  # frame up to which sound was looked at
        self.begin = 0  # frame where the utterance begins
        self.settled = 0  # frame before which all words are final
        self.remembered = 0  # frame up to which `speech` has what was said
        self.partial: tuple[Word, ...] = ()
        self.finished = False
        given = sample_rate or model.sample_rate
        self.resampler = (
            soxr.ResampleStream(given, model.sample_rate, 1, dtype="float32", quality="HQ")
            if given != model.sample_rate
            else None
        )

    def feed(self, chunk: NDArray[Any]) -> Update:
        """Hear a chunk (N,), of any length: floats in [-1, 1], or int16.

        Raises AudioError for what is no wave, and for one after the end.
        """
        if self.finished:
            raise AudioError("the stream has ended; open another one for what is said now")
        if chunk.dtype != np.int16 and not np.issubdtype(chunk.dtype, np.floating):
            raise AudioError(f"a chunk is of floats in [-1, 1] or of int16, this one is of {chunk.dtype}")
        return self._hear(chunk, last=False)

    def finish(self) -> Update:
        """The end of the sound: all words are final."""
        if self.finished:
            return Update()
        self.finished = True
        return self._hear(np.zeros(0, dtype=np.float32), last=True)

    def _hear(self, chunk: NDArray[Any], last: bool) -> Update:
        wave: FloatArray = chunk.astype(np.float32)
        if chunk.dtype == np.int16:
            wave /= np.float32(INT16_SCALE)
        if wave.size:
            check_wave(wave)
        if self.resampler is not None:
            wave = self.resampler.resample_chunk(wave, last=last)
        self.sound.add(wave, last)
        final: list[Word] = []
        ended, step = False, self._frames(self.config.step)
        while self.sound.end - self.looked >= step:
            self.looked += step
            words, now = self._look(self.looked, False)
            final, ended = [*final, *words], ended or now
        if last:
            words, now = self._look(self.sound.end, True)
            final, ended = [*final, *words], ended or now
        return Update(tuple(final), self.partial, ended)

    def _look(self, end: int, last: bool) -> tuple[tuple[Word, ...], bool]:
        """Look at the sound up to a frame: words that are final now, and whether the utterance has ended."""
        is_quiet = self.sound.quiet(end)
        pending = is_quiet[len(is_quiet) - (end - self.settled) :]
        if pending.all():
            self._begin_at(max(self.settled, end - self._frames(self.config.margin)))
            return (), False
        self._remember(end)
        silent = int(np.argmin(is_quiet[::-1]))
        words = self._words(end)
        ended = last or silent >= self._frames(self.config.pause)
        if ended or end - self.settled > self._frames(self.config.longest):
            self._begin_at(end)
            return words, ended
        count = self._num_final(words, end)
        if count:
            middle = (words[count - 1].end + words[count].start) / 2
            self.settled = max(self.settled, self._on_grid(round(middle / self.hop)))
        self.sound.forget(self._first_seen(), self.settled)
        self.partial = words[count:]
        return words[:count], False

    def _num_final(self, words: tuple[Word, ...], end: int) -> int:
        """How many words are followed by another one and by enough sound."""
        if self.speech.shape[1] < self._frames(self.config.warm_up):
            return 0
        bound = end * self.hop - self.config.look_ahead
        return sum(word.end <= bound for word in words[:-1])

    def _words(self, end: int) -> tuple[Word, ...]:
        """Recognize from the settled frame to the end."""
        model = self.model
        first = self._first_seen()
        features = normalize(self.sound.frames(first, end), model.config.features, self.speech)
        lengths = np.array([features.shape[1]])
        # All of it: the confidence of words asks for that.
        (seen,) = model.posteriors(features[None].astype(np.float32), lengths, whole=True)
        new = seen[(self.settled - first) // model.config.network.stride :]
        heard = hush(new, model.step_seconds)
        found = Recognition(model.find(heard), heard.whole())
        offset = self.settled * self.hop
        return tuple(
            replace(word, start=word.start + offset, end=word.end + offset) for word in model.words(found)
        )

    def _remember(self, end: int) -> None:
        """Add what is new of the utterance to the speech that normalises."""
        new = self.sound.frames(max(self.begin, self.remembered), end)
        self.remembered = end
        self.speech = np.concatenate([self.speech, new], axis=1)[:, -self._frames(self.config.memory) :]

    def _begin_at(self, frame: int) -> None:
        self.begin = self.settled = self._on_grid(frame)
        self.partial = ()
        self.sound.forget(self.begin, self.begin)

    def _first_seen(self) -> int:
        """The first frame that the network sees."""
        return self._on_grid(max(self.begin, self.settled - self._frames(self.config.context)))

    def _on_grid(self, frame: int) -> int:
        return frame - frame % self.model.config.network.stride

    def _frames(self, seconds: float) -> int:
        """The frames of a time, one at least where it is some: no step stands still."""
        return max(round(seconds / self.hop), int(seconds > 0))


class _Sound:
    """Log-mel frames (F, T) of sound that goes on, each as in the whole recording; and which are quiet."""

    LEVELS_S = 20.0  # what is quiet is judged over so much

    def __init__(self, model: Model) -> None:
        features = model.config.features
        self.extractor = model.extractor
        self.hop = features.hop_length
        # Samples that a frame sees after its place, and those that would be silenced were they the last.
        self.reach = features.n_fft - features.margin + features.num_silenced
        self.before = -(-(self.reach + 1) // self.hop)  # frames, until a cut edge is out of sight
        self.num_levels = round(self.LEVELS_S * model.sample_rate / self.hop)
        self.wave: FloatArray = np.zeros(0, dtype=np.float32)
        self.skipped = 0  # frames whose samples are no longer in `wave`
        self.log_mel: Float64 = np.zeros((features.num_features, 0))
        self.level: Float64 = np.zeros(0)
        self.first = 0  # frame with which `log_mel` begins
        self.end = 0  # frame with which it ends

    def add(self, wave: FloatArray, last: bool) -> None:
        """Hear more; frames whose window is not there yet wait for the next chunk, or for the last one."""
        self.wave = np.concatenate([self.wave, wave])
        there = self.wave.size
        ready = self.extractor.num_frames(there) if last else max(0, (there - self.reach - 1) // self.hop + 1)
        new = self.skipped + ready - self.end
        if new <= 0 or there == 0:
            return
        log_mel = self.extractor.log_mel(self.wave)[:, self.end - self.skipped : ready]
        self.log_mel = np.concatenate([self.log_mel, log_mel], axis=1)
        config = self.extractor.config
        power = log_mel[: config.num_mels]  # not their repetitions
        power = (np.exp(power) - config.log_offset if config.log else power).sum(axis=0)
        level = 10 * np.log10(np.maximum(power, 1e-12))
        self.level = np.concatenate([self.level, level])
        self.end += log_mel.shape[1]
        cut = max(0, self.end - self.skipped - self.before)
        self.wave, self.skipped = self.wave[cut * self.hop :], self.skipped + cut

    def frames(self, first: int, end: int) -> Float64:
        """Frames (F, end - first) that were not forgotten."""
        return self.log_mel[:, first - self.first : end - self.first]

    def quiet(self, end: int) -> BoolArray:
        """Which frames before a frame are quiet, of those that are kept and some seconds before."""
        level = self.level[: len(self.level) - (self.end - end)]
        return quiet(level.astype(np.float32))

    def forget(self, frame: int, settled: int) -> None:
        """Keep the frames from this one on, and the levels of some seconds and of what is not settled."""
        self.log_mel = self.log_mel[:, frame - self.first :]
        self.first = frame
        self.level = self.level[max(0, len(self.level) - max(self.num_levels, self.end - settled)) :]
