"""Blocks of a wave in, the windows of it that hold sound out, cut at pauses as utterances are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.types import FloatArray, IntArray

BoolArray = NDArray[np.bool_]

FRAME_S = 0.01
PREEMPHASIS = 0.97  # takes hum and rumble out of the level
# dB; 25 found the joints of clips whether silence or noise of -60 dB lay between them, 35 missed the noise.
BELOW_LOUD = 25.0
ABOVE_NOISE = 5.0
LEAST_RANGE = 4.0  # between the 5th and 95th percentile: clean speech has 24 and more, white noise 2
SILENCE = -85.0  # dB of full scale, below which nothing is heard
STEADY_S = 0.3  # what is shorter may be one vowel, and is no noise for varying little


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a recording is cut into windows; all in seconds."""

    longest: float = 20.0  # as nearly all utterances of a training; a recording up to that is one
    shortest: float = 4.0  # that a cut at a short pause leaves: normalisation wants some seconds of speech
    utterance_pause: float = 0.8  # ends a window wherever it is
    pause: float = 0.15  # may end one that grows too long
    margin: float = 0.3  # of a pause stays at either end of a window
    overlap: float = 5.0  # of two windows where there is no pause


class Window(NamedTuple):
    """A stretch of a recording; `joined`: it repeats the end of the window before it."""

    start: int  # sample of the recording
    wave: FloatArray
    joined: bool


class Cut(NamedTuple):
    """Where a window begins and ends, in frames of 10 ms."""

    begin: int
    end: int
    joined: bool  # the next window repeats the end of this one


def levels(wave: FloatArray, sample_rate: int) -> FloatArray:
    """The level of each 10 ms of a wave (N,), in dB of full scale; the last of them may be shorter."""
    if wave.size == 0:
        return np.zeros(0, dtype=np.float32)
    before = np.concatenate([wave[:1], wave[:-1]])
    edges = wave - PREEMPHASIS * before
    starts = np.arange(0, wave.size, round(FRAME_S * sample_rate))
    power = np.add.reduceat(np.square(edges), starts) / np.diff(starts, append=wave.size)
    return np.asarray(10 * np.log10(power + 1e-12), dtype=np.float32)


def quiet(level: FloatArray) -> BoolArray:
    """Which frames hold no speech, by their levels (T,) in dB, of so much sound as one window has."""
    if level.size == 0:
        return np.zeros(0, dtype=np.bool_)
    noise, loud = np.percentile(level, [5, 95])
    if loud - noise < LEAST_RANGE and level.size > STEADY_S / FRAME_S:
        return np.ones(level.size, dtype=np.bool_)
    threshold = min(max(loud - BELOW_LOUD, noise + ABOVE_NOISE), loud - LEAST_RANGE)
    return np.asarray(level < max(threshold, SILENCE))


def cut_windows(
    blocks: Iterable[FloatArray], sample_rate: int, cutting: Cutting, grid: int = 1
) -> Iterator[Window]:
    """Cut a recording that comes in blocks (N,); no more of it is held than a window and a block.

    A window ends at the first `utterance_pause`, or at the longest pause before it grows longer than
    `longest`; no more than `margin` of silence stays at its ends. Where there is no pause, the next window
    begins `overlap` before its end. All begin at a multiple of `grid` samples: with a network's step for it,
    sound is seen in the same steps wherever the recording was cut before it. What is silent or of one
    loudness for seconds is in no window. A recording no longer than `longest` that has sound is one.
    """
    cutter = _Cutter(sample_rate, cutting, grid)
    for block in blocks:
        yield from cutter.add(block)
    yield from cutter.finish()


class _Cutter:
    """The sound that is not cut yet, and what was decided about its beginning."""

    def __init__(self, sample_rate: int, cutting: Cutting, grid: int) -> None:
        self.sample_rate, self.cutting, self.grid = sample_rate, cutting, grid
        self.frame = round(FRAME_S * sample_rate)  # samples
        # Samples that a decision looks at: the longest window and a pause that may end it.
        self.reach = _frames(cutting.longest + 2 * cutting.utterance_pause) * self.frame
        self.wave = np.zeros(0, dtype=np.float32)
        self.start = 0  # sample of the recording where `wave` begins
        self.joined = False  # `wave` repeats the end of the window before it

    def add(self, block: FloatArray) -> Iterator[Window]:
        """The windows that are sure now."""
        self.wave = np.concatenate([self.wave, block])
        while self.wave.size > self.reach:
            yield from self._next(last=False)

    def finish(self) -> Iterator[Window]:
        """The windows that are left."""
        if self.start == 0 and self.wave.size <= self.cutting.longest * self.sample_rate:
            if not quiet(levels(self.wave, self.sample_rate)).all():
                yield Window(0, self.wave, False)
            return
        while self.wave.size:
            yield from self._next(last=self.wave.size <= self.reach)

    def _next(self, last: bool) -> Iterator[Window]:
        """The next window, or none where a stretch is silent; takes it off the sound that is left."""
        view = self.wave[: self.reach]
        is_quiet = quiet(levels(view, self.sample_rate))
        if is_quiet.all() and not self.joined:
            kept = 0 if last else _frames(self.cutting.margin)
            self._drop(view.size if last else (len(is_quiet) - kept) * self.frame)
            return
        cut = find_cut(is_quiet, self.cutting, self.joined, last)
        begin, end = self._on_grid(cut.begin * self.frame), min(cut.end * self.frame, view.size)
        yield Window(self.start + begin, view[begin:end].copy(), self.joined)
        if cut.joined:
            end -= _frames(self.cutting.overlap) * self.frame
        self.joined = cut.joined
        self._drop(end)

    def _drop(self, num_samples: int) -> None:
        if num_samples < self.wave.size:
            num_samples = self._on_grid(num_samples)
        self.wave = self.wave[num_samples:].copy()
        self.start += num_samples

    def _on_grid(self, num_samples: int) -> int:
        return num_samples // self.grid * self.grid


def find_cut(is_quiet: BoolArray, cutting: Cutting, joined: bool, last: bool) -> Cut:
    """Decide on one window in frames (T,), not all of which are quiet.

    `joined`: it begins with the first frame, and repeats `overlap` of the window before it. `last`: the
    recording ends with these frames.
    """
    margin, longest = _frames(cutting.margin), _frames(cutting.longest)
    speech = 0 if joined else int(np.argmin(is_quiet))
    begin = max(0, speech - margin)
    runs = quiet_runs(is_quiet)
    runs = runs[(runs[:, 0] > speech + joined * _frames(cutting.overlap)) & (runs[:, 0] <= begin + longest)]
    lengths = runs[:, 1] - runs[:, 0]
    ending = np.flatnonzero(lengths >= _frames(cutting.utterance_pause))
    if ending.size:
        return Cut(begin, int(runs[ending[0], 0]) + margin, False)
    if last and len(is_quiet) - begin <= longest:
        return Cut(begin, len(is_quiet), False)
    middles = runs.sum(axis=1) // 2
    usable = (middles >= begin + _frames(cutting.shortest)) & (middles <= begin + longest)
    lengths = np.where(usable, lengths, 0)
    if lengths.max(initial=0) >= _frames(cutting.pause):
        best = len(lengths) - 1 - int(np.argmax(lengths[::-1]))  # the last of the longest
        return Cut(begin, min(int(middles[best]), int(runs[best, 0]) + margin), False)
    return Cut(begin, begin + longest, True)


def quiet_runs(is_quiet: BoolArray) -> IntArray:
    """First frame and end (R, 2) of every run of quiet frames."""
    change = np.diff(is_quiet.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(change == 1), np.flatnonzero(change == -1)], axis=1)


def _frames(seconds: float) -> int:
    return round(seconds / FRAME_S)
