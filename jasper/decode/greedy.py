"""The best label of every step, repeats merged, blanks removed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    return follow(log_probs.argmax(axis=2), log_probs.max(axis=2), lengths, blank)


def follow(best: IntArray, peaks: FloatArray, lengths: IntArray, blank: int) -> list[Hypothesis]:
    """`greedy`, for the best label (B, T) of every step and its log-probability (B, T)."""
    valid = np.arange(best.shape[1]) < lengths[:, None]
    summed = _checked(peaks, valid)
    changed = np.ones_like(valid)
    changed[:, 1:] = best[:, 1:] != best[:, :-1]
    emitted = valid & changed & (best != blank)
    # A running sum adds in time order, whatever the padding; np.sum groups its terms by the padded length.
    scores = np.pad(summed.cumsum(axis=1), ((0, 0), (1, 0)))
    hypotheses = []
    for row, length in enumerate(lengths):
        frames = np.flatnonzero(emitted[row])
        tokens = best[row, frames]
        score = float(scores[row, length])
        hypotheses.append(Hypothesis(tuple(tokens.tolist()), tuple(frames.tolist()), score))
    return hypotheses


def make(config: DecodeConfig, tokenizer: Tokenizer) -> Search:
    """The search of `jasper.decode.SEARCHES`: one hypothesis a row."""
    return lambda log_probs, lengths: [[best] for best in greedy(log_probs, lengths, tokenizer.blank)]


def check_log_probs(log_probs: FloatArray, lengths: IntArray, blank: int) -> None:
    """Raise ModelError for shapes and lengths that do not fit, and for a valid step that is not a number."""
    _check_shapes(log_probs, lengths, blank)
    _checked(log_probs.max(axis=2), np.arange(log_probs.shape[1]) < lengths[:, None])


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
    if np.any(lengths < 0) or np.any(lengths > steps):
        raise ModelError(f"lengths {lengths.tolist()} are not all within the {steps} steps of log_probs")


def _checked(peaks: FloatArray, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(B, T) the highest log-probability of every valid step, 0 past the end."""
    summands = np.where(valid, peaks, 0.0).astype(np.float64)
    bad = np.argwhere(np.isnan(summands))
    if len(bad):
        row, step = bad[0].tolist()
        raise ModelError(
            f"log_probs are not a number at row {row}, step {step}; the weights or the features are broken"
        )
    return summands
