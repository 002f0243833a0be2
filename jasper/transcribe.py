"""A model and a recording of any length in, its transcript out, in memory that does not grow with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from jasper.blocks import audio_blocks, header_duration
from jasper.data.batches import cut_batches
from jasper.errors import AudioError, EmptyAudioError
from jasper.features import check_wave
from jasper.model import Recognition
from jasper.nonspeech import hush
from jasper.pauses import Cutting, Window, cut_windows
from jasper.picture import Heard
from jasper.posteriors import Posteriors
from jasper.progress import is_drawn, progress_bar
from jasper.storage import stem
from jasper.types import BestPath, FloatArray, Segment, Transcript, location

if TYPE_CHECKING:
    from jasper.model import Model

NUM_WINDOWS = 16  # that are put in order of length at a time
BATCH_SECONDS = 80.0  # of padded audio at a time
LONGEST_STRETCH_S = 150.0  # of sound without a pause that is searched at once
AGREEMENT_S = 0.4  # of two windows that is compared at each place where they may be joined

LONGEST_EXAMINED_S = 300.0  # 30 rows of a picture

CUTTING = Cutting()
Source = str | Path | BinaryIO


class Stretch(NamedTuple):
    """Sound between two pauses: where it begins, and what the network makes of it."""

    start: int  # sample of the recording
    heard: Posteriors


def transcribe(
    model: Model,
    source: Source | FloatArray,
    *,
    channel: int | None = None,
    words: bool = False,
    cutting: Cutting = CUTTING,
) -> Transcript:
    """Transcribe a file, a URL, an open file, or a wave (N,) at the model's rate; of any length.

    `words` asks for the words' times and confidence. A file without samples has an empty transcript. Raises
    AudioError for what cannot be read.
    """
    if isinstance(source, np.ndarray):
        wave = np.asarray(source, dtype=np.float32)
        check_wave(wave)
        blocks: Iterable[FloatArray] = [wave]
    else:
        blocks = audio_blocks(source, model.sample_rate, channel=channel)
    count, segments = 0, []

    def counted() -> Iterator[FloatArray]:
        nonlocal count
        for block in blocks:
            count += block.size
            yield block

    with _progress(source) as advance, suppress(EmptyAudioError):
        for segment in transcribe_blocks(model, counted(), words=words, cutting=cutting):
            segments.append(segment)
            advance(segment.end)
    return _transcript(segments, count / model.sample_rate, source)


def examine(model: Model, source: Source, *, channel: int | None = None) -> Heard:
    """Transcribe a recording of up to LONGEST_EXAMINED_S and keep all that was made of it, for a picture.

    Raises AudioError for what is longer, has no sample or cannot be read.
    """
    wave, features = np.zeros(0, dtype=np.float32), model.config.features
    for block in audio_blocks(source, model.sample_rate, channel=channel):
        wave = np.concatenate([wave, block])
        if wave.size > LONGEST_EXAMINED_S * model.sample_rate:
            raise AudioError(f"{source}: too long for a picture: more than {LONGEST_EXAMINED_S:.0f} s")
    found = list(_heard(model, [wave], True, CUTTING))
    transcript = _transcript([segment for segment, _ in found], wave.size / model.sample_rate, source)
    return Heard(
        wave,
        model.sample_rate,
        model.extractor.log_mel(wave),
        features.hop_length / model.sample_rate,
        tuple((segment.start, heard.whole()) for segment, heard in found),
        model.step_seconds,
        (*model.tokenizer.labels, ""),
        transcript,
    )


def _transcript(segments: Sequence[Segment], duration: float, source: Source | FloatArray) -> Transcript:
    return Transcript(
        " ".join(segment.text for segment in segments if segment.text),
        duration,
        math.fsum(segment.score for segment in segments),
        location(source) if isinstance(source, str | Path) else None,
        tuple(word for segment in segments for word in segment.words),
        tuple(segments),
    )


@contextmanager
def _progress(source: Source | FloatArray) -> Iterator[Callable[[float], None]]:
    """A bar over a recording, with the rate as times real time; yields `advance(to_second)`."""
    path = location(source) if isinstance(source, str | Path) else None
    duration = header_duration(source) if is_drawn() and not isinstance(source, np.ndarray) else None
    name, begun, done = "" if path is None else f"{stem(path)} ", time.perf_counter(), 0.0
    with progress_bar(f"{name}…", duration) as advance:

        def advance_to(second: float) -> None:
            nonlocal done
            rate = second / (time.perf_counter() - begun)
            advance(second - done, f"{name}{rate:,.0f} × real time")
            done = second

        yield advance_to


def transcribe_blocks(
    model: Model, blocks: Iterable[FloatArray], *, words: bool = False, cutting: Cutting = CUTTING
) -> Iterator[Segment]:
    """Yield what is said between the pauses of a wave that comes in blocks (N,) at the model's rate."""
    for segment, _ in _heard(model, blocks, words, cutting):
        yield segment


def _heard(
    model: Model, blocks: Iterable[FloatArray], words: bool, cutting: Cutting
) -> Iterator[tuple[Segment, Posteriors]]:
    """Segments, and what they were searched in; with `words` all log_probs are there."""
    step = model.config.features.hop_length * model.config.network.stride  # samples
    windows = cut_windows(blocks, model.sample_rate, cutting, step)
    for start, heard in join_windows(run_windows(model, windows, whole=words), step, model.sample_rate):
        offset = start / model.sample_rate
        hushed = hush(heard, model.step_seconds)
        hypotheses = model.find(hushed)
        timed = model.words(Recognition(hypotheses, hushed.whole())) if words else ()
        segment = Segment(
            model.tokenizer.text(hypotheses[0].tokens),
            offset,
            offset + len(hushed) * model.step_seconds,
            hypotheses[0].score,
            tuple(replace(word, start=word.start + offset, end=word.end + offset) for word in timed),
        )
        yield segment, hushed


def run_windows(
    model: Model, windows: Iterable[Window], *, whole: bool
) -> Iterator[tuple[Window, Posteriors]]:
    """Yield each window with what the network makes of it, in order; windows of like length run together.

    `whole` asks for all of their log_probs.
    """
    source = iter(windows)
    while group := list(islice(source, NUM_WINDOWS)):
        seconds = np.array([window.wave.size / model.sample_rate for window in group])
        heard: dict[int, Posteriors] = {}
        for batch in cut_batches(seconds, np.argsort(seconds, kind="stable"), NUM_WINDOWS, BATCH_SECONDS):
            features, lengths = model.features([group[index].wave for index in batch])
            heard.update(zip(batch, model.posteriors(features, lengths, whole=whole), strict=True))
        yield from ((window, heard[index]) for index, window in enumerate(group))


def join_windows(rows: Iterable[tuple[Window, Posteriors]], step: int, sample_rate: int) -> Iterator[Stretch]:
    """Join what was heard in windows that overlap, of `step` samples a step, into stretches.

    A stretch that has grown to LONGEST_STRETCH_S ends at the next place where two windows meet.
    """
    held: Stretch | None = None
    for window, heard in rows:
        if held is None or not window.joined:
            if held is not None:
                yield held
            held = Stretch(window.start, heard)
            continue
        offset = (window.start - held.start) // step
        width = round(AGREEMENT_S * sample_rate / step)
        place = meeting_place(held.heard[offset:].path, heard.path, width)
        before, after = held.heard[: offset + place], heard[place:]
        if len(before) * step > LONGEST_STRETCH_S * sample_rate:
            yield Stretch(held.start, before)
            held = Stretch(window.start + place * step, after)
        else:
            held = Stretch(held.start, before.followed_by(after))
    if held is not None:
        yield held


def meeting_place(first: BestPath, second: BestPath, width: int) -> int:
    """The step at which two views (T,) of the same sound agree most, `width` steps around it.

    It lies in the middle half of what they share, since near its ends a window knows less of what is around.
    """
    shared = min(len(first.labels), len(second.labels))
    one, other = np.exp(first.log_probs[:shared]), np.exp(second.log_probs[:shared])
    # Of the probability that they place otherwise (of all labels together), what the best labels tell.
    same = first.labels[:shared] == second.labels[:shared]
    distance = np.where(same, 2 * np.abs(one - other), one + other)
    around = np.convolve(distance, np.ones(max(1, width)), mode="same")
    low, high = shared // 4, max(shared // 4 + 1, shared - shared // 4)
    return low + int(np.argmin(around[low:high]))
