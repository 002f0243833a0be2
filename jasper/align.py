"""A model, a recording of any length and its text in, when each word of it is said out: forced alignment.

Log-probabilities come from windows as in transcription and stand for the whole recording: where no window is,
nothing is said. They and the alignment take memory that is linear in the recording and the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from jasper.blocks import audio_blocks
from jasper.decode.words import words_of
from jasper.errors import TextError
from jasper.model import Model
from jasper.pauses import Cutting, cut_windows
from jasper.posteriors import ALMOST_NEVER
from jasper.transcribe import CUTTING, join_windows, run_windows
from jasper.types import FloatArray, Location, Word


def align(
    model: Model,
    source: Location | FloatArray,
    text: str,
    *,
    channel: int | None = None,
    cutting: Cutting = CUTTING,
) -> tuple[Word, ...]:
    """The words of a text, as they are written, and when each is said in a file or a wave (N,).

    A word's confidence is the probability that it is what is said there: low where text and sound differ.
    What the normaliser makes nothing of, a dash for example, has no place. Raises TextError where no word is
    left or the text is too long for the sound, AudioError for a file that cannot be read.
    """
    blocks: Iterable[FloatArray]
    if isinstance(source, np.ndarray):
        blocks = [np.asarray(source, np.float32)]
    else:
        blocks = audio_blocks(source, model.sample_rate, channel=channel)
    return align_log_probs(model, log_probs_of(model, blocks, cutting), text)


def log_probs_of(model: Model, blocks: Iterable[FloatArray], cutting: Cutting = CUTTING) -> FloatArray:
    """Log_probs (T', V) of a whole recording, whose wave comes in blocks (N,); blank where it is silent."""
    step = model.config.features.hop_length * model.config.network.stride  # samples
    blank = model.tokenizer.blank
    pieces: list[FloatArray] = []
    length = 0
    windows = cut_windows(blocks, model.sample_rate, cutting, step)
    for start, heard in join_windows(run_windows(model, windows, whole=True), step, model.sample_rate):
        begin = max(length, round(start / step))
        silence = np.full((begin - length, blank + 1), ALMOST_NEVER, np.float32)
        silence[:, blank] = 0.0
        pieces += [silence, heard.whole()]
        length = begin + len(heard)
    return np.concatenate(pieces) if pieces else np.zeros((0, blank + 1), np.float32)


def align_log_probs(model: Model, log_probs: FloatArray, text: str) -> tuple[Word, ...]:
    """`align`, for log_probs (T', V) that are there already."""
    written = [(word, model.normalize(word).split()) for word in text.split()]
    written = [(word, spoken) for word, spoken in written if spoken]
    if not written:
        raise TextError(f"no word is left of {text!r:.60}")
    tokens = model.tokenizer.encode(" ".join(word for _, spoken in written for word in spoken))
    spoken = words_of(tokens, log_probs, model.tokenizer, model.step_seconds)
    return tuple(_joined([word for word, _ in written], [len(parts) for _, parts in written], spoken))


def _joined(written: Sequence[str], counts: Sequence[int], spoken: Sequence[Word]) -> Iterable[Word]:
    """Each written word, from the first to the last of the so many words that it is read as."""
    place = 0
    for text, count in zip(written, counts, strict=True):
        parts = spoken[place : place + count]
        place += count
        yield Word(text, parts[0].start, parts[-1].end, math.prod(part.confidence for part in parts))


def textgrid(words: Sequence[Word], duration: float, tier: str = "words") -> str:
    """Praat's TextGrid of one tier, whose intervals fill the recording of `duration` seconds."""
    intervals: list[tuple[float, float, str]] = []
    end = 0.0
    for word in words:
        if word.start > end:
            intervals.append((end, word.start, ""))
        intervals.append((word.start, word.end, word.text))
        end = word.end
    if end < duration or not intervals:
        intervals.append((end, duration, ""))
    last = intervals[-1][1]
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "",
        "xmin = 0", f"xmax = {last:.6f}", "tiers? <exists>", "size = 1", "item []:", "    item [1]:",
        '        class = "IntervalTier"', f'        name = "{tier}"',
        "        xmin = 0", f"        xmax = {last:.6f}", f"        intervals: size = {len(intervals)}",
    ]  # fmt: skip
    for number, (start, stop, text) in enumerate(intervals, start=1):
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{number}]:", f"            xmin = {start:.6f}",
            f"            xmax = {stop:.6f}", f'            text = "{quoted}"',
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
