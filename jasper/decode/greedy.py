"""The best label of every step, repeats merged, blanks removed."""

from __future__ import annotations

import math

import numpy as np

from jasper.config import DecodeConfig
from jasper.errors import ModelError
from jasper.text import Tokenizer
from jasper.types import FloatArray, Hypothesis, IntArray, Search


def greedy(log_probs: FloatArray, lengths: IntArray, blank: int) -> list[Hypothesis]:
    """Decode a batch by its best paths; each row's result depends on its own valid steps alone.

    log_probs: (B, T, V), natural logarithm. lengths: (B,), valid steps of each row.
    Raises ModelError for shapes and lengths that do not fit, and for a valid step that is not a number.
    """
    log_probs, lengths = np.asarray(log_probs), np.asarray(lengths)
    _check_shapes(log_probs, lengths, blank)
    rows, steps, _ = log_probs.shape
    best = log_probs.argmax(axis=2)
    return follow(best, log_probs[np.arange(rows)[:, None], np.arange(steps), best], lengths, blank)


def follow(best: IntArray, peaks: FloatArray, lengths: IntArray, blank: int) -> list[Hypothesis]:
    """`greedy`, for the best label (B, T) of every step and its log-probability (B, T)."""
    return [
        _path(best[row, :length], peaks[row, :length], row, blank)
        for row, length in enumerate(lengths.tolist())
    ]


def _path(best: IntArray, peaks: FloatArray, row: int, blank: int) -> Hypothesis:
    """What the best labels (T,) of a row spell. Raises ModelError where a log-probability is not a number."""
    if not len(best):
        return Hypothesis((), (), 0.0)
    emitted = best != blank
    emitted[1:] &= best[1:] != best[:-1]
    (frames,) = emitted.nonzero()
    score = float(sum(peaks.tolist()))  # added in the order of time
    if math.isnan(score):
        raise _not_a_number(row, int(np.isnan(peaks).argmax()))
    return Hypothesis(tuple(best[frames].tolist()), tuple(frames.tolist()), score)


def make(config: DecodeConfig, tokenizer: Tokenizer) -> Search:
    """The search of `jasper.decode.SEARCHES`: one hypothesis a row."""
    return lambda log_probs, lengths: [[best] for best in greedy(log_probs, lengths, tokenizer.blank)]


def check_log_probs(log_probs: FloatArray, lengths: IntArray, blank: int) -> None:
    """Raise ModelError for shapes and lengths that do not fit, and for a valid step that is not a number."""
    _check_shapes(log_probs, lengths, blank)
    valid = np.arange(log_probs.shape[1]) < lengths[:, None]
    bad = np.argwhere(np.isnan(log_probs.max(axis=2)) & valid)
    if len(bad):
        raise _not_a_number(*bad[0].tolist())


def _check_shapes(log_probs: FloatArray, lengths: IntArray, blank: int) -> None:
    if log_probs.ndim != 3 or lengths.shape != log_probs.shape[:1]:
        raise ModelError(
            f"decoding needs log_probs (B, T, V) and lengths (B,), found {log_probs.shape}, {lengths.shape}"
        )
    _, steps, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ModelError(
            f"the blank is {blank}, but the model has {classes} outputs; do its labels belong to it?"
        )
    if not all(0 <= length <= steps for length in lengths.tolist()):
        raise ModelError(f"lengths {lengths.tolist()} are not all within the {steps} steps of log_probs")


def _not_a_number(row: int, step: int) -> ModelError:
    return ModelError(
        f"log_probs are not a number at row {row}, step {step}; the weights or the features are broken"
    )
