"""The best label of every step, repeats merged, blanks removed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from jasper.config import DecodeConfig
from jasper.errors import ModelError
from jasper.nonspeech import evidence
from jasper.text import Tokenizer
from jasper.types import BestPath, FloatArray, Hypothesis, IntArray

NOTHING = Hypothesis((), (), 0.0)


def greedy(log_probs: FloatArray, lengths: IntArray, blank: int) -> list[Hypothesis]:
    """Decode a batch by its best paths; each row's result depends on its own valid steps alone.

    log_probs: (B, T, V), natural logarithm. lengths: (B,), valid steps of each row.
    Raises ModelError for shapes and lengths that do not fit, and for a valid step that is not a number.
    """
    return [best for (best,) in GreedySearch(blank)(np.asarray(log_probs), np.asarray(lengths))]


class GreedySearch:
    """The search of log-probabilities, or of best paths that are there already, by one hypothesis a row."""

    def __init__(self, blank: int, least: float = 0.0, step_seconds: float = 1.0) -> None:
        """Find nothing in rows whose `evidence` is less than `least` nats."""
        self.blank, self.least, self.step_seconds = blank, least, step_seconds

    def __call__(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """Search log_probs (B, T, V); see `greedy`."""
        steps = _checked_steps(log_probs, lengths, self.blank)
        return [
            [self._judge(row, *walk(log_probs[row, :count], self.blank))] for row, count in enumerate(steps)
        ]

    def follow(self, path: BestPath, lengths: IntArray) -> list[Hypothesis]:
        """What best paths (B, T) spell; raises ModelError for a valid step that is not a number."""
        paths = [path[row, :count] for row, count in enumerate(lengths.tolist())]
        return [self._judge(row, one, spell(one, self.blank)) for row, one in enumerate(paths)]

    def _judge(self, row: int, path: BestPath, hypothesis: Hypothesis) -> Hypothesis:
        if math.isnan(hypothesis.score):
            raise _not_a_number(row, int(np.isnan(path.log_probs).argmax()))
        silent = self.least and evidence(path, self.step_seconds) < self.least
        return NOTHING if silent else hypothesis


def walk(log_probs: FloatArray, blank: int) -> tuple[BestPath, Hypothesis]:
    """The best path (T,) of log_probs (T, V), without entropy, and what it spells, evident or not."""
    loop = _loop()
    if loop is None:
        labels = log_probs.argmax(axis=1)
        path = BestPath(labels, log_probs[np.arange(len(labels)), labels], log_probs[:, blank])
        return path, spell(path, blank)
    found, sure = np.empty((3, len(log_probs)), np.int64), np.empty((2, len(log_probs)), np.float32)
    count, score = loop(log_probs, blank, found, sure)
    tokens, frames = found[1:, :count].tolist()
    return BestPath(found[0], sure[0], sure[1]), Hypothesis(tuple(tokens), tuple(frames), score)


def spell(path: BestPath, blank: int) -> Hypothesis:
    """What a path (T,) spells: repeats are merged, blanks left out."""
    emitted = path.labels != blank
    emitted[1:] &= path.labels[1:] != path.labels[:-1]
    (frames,) = emitted.nonzero()
    score = float(sum(path.log_probs.tolist()))  # added in the order of time
    return Hypothesis(tuple(path.labels[frames].tolist()), tuple(frames.tolist()), score)


_walk: Callable[..., tuple[int, float]] | None = None


def _loop() -> Callable[..., tuple[int, float]] | None:
    """The compiled `walk`, once numba has been loaded for something else.

    It saves 0.1 ms a clip, for which no compiler is worth loading: features do that after ten minutes of
    sound.
    """
    global _walk
    if _walk is None and "numba" in sys.modules:
        from jasper.decode import compiled_greedy

        _walk = compiled_greedy.walk
    return _walk


def make(config: DecodeConfig, tokenizer: Tokenizer) -> GreedySearch:
    """The search of `jasper.decode.SEARCHES`."""
    return GreedySearch(tokenizer.blank)


def check_log_probs(log_probs: FloatArray, lengths: IntArray, blank: int) -> None:
    """Raise ModelError for shapes and lengths that do not fit, and for a valid step that is not a number."""
    _checked_steps(log_probs, lengths, blank)
    if np.isnan(log_probs.max(initial=-math.inf)):  # seldom, and it may be past the lengths
        valid = np.arange(log_probs.shape[1]) < lengths[:, None]
        bad = np.argwhere(np.isnan(log_probs).any(axis=2) & valid)
        if len(bad):
            raise _not_a_number(*bad[0].tolist())


def _checked_steps(log_probs: FloatArray, lengths: IntArray, blank: int) -> list[int]:
    """The valid steps of each row, which are in log_probs as the blank is."""
    if log_probs.ndim != 3 or lengths.shape != log_probs.shape[:1]:
        raise ModelError(
            f"decoding needs log_probs (B, T, V) and lengths (B,), found {log_probs.shape}, {lengths.shape}"
        )
    _, steps, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise ModelError(
            f"the blank is {blank}, but the model has {classes} outputs; do its labels belong to it?"
        )
    counts: list[int] = lengths.tolist()
    if counts and not 0 <= min(counts) <= max(counts) <= steps:
        raise ModelError(f"lengths {counts} are not all within the {steps} steps of log_probs")
    return counts


def _not_a_number(row: int, step: int) -> ModelError:
    return ModelError(
        f"log_probs are not a number at row {row}, step {step}; the weights or the features are broken"
    )
