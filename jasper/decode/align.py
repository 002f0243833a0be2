"""Log-probabilities and a text in, when each of its labels is said out: forced alignment (Viterbi)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_inside
from jasper.decode.prefixes import log_add
from jasper.errors import TextError
from jasper.text import min_frames
from jasper.types import FloatArray

StateArray = NDArray[np.int64]  # a state is a place in: blank, label, blank, label, …, blank
ScoreArray = NDArray[np.float64]

# Bytes of back-pointers, above which the utterance is halved: an hour takes as much memory as a minute.
MAX_BACK_POINTERS = 1 << 24


class Spans(NamedTuple):
    """Label i is emitted from step starts[i] to step ends[i], half open, on the best path."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    score: float  # natural log of the probability of the path


def align_tokens(log_probs: FloatArray, tokens: Sequence[int], blank: int) -> Spans:
    """The best alignment of labels (L,) to log_probs (T, V), all of whose steps are valid.

    Memory beside log_probs is linear in T and L. Raises TextError where the labels do not fit into the steps.
    """
    if min_frames(tokens) > len(log_probs):
        raise TextError(f"{len(tokens)} labels do not fit into {len(log_probs)} steps")
    states = np.full(2 * len(tokens) + 1, blank, np.int64)
    states[1::2] = tokens
    path = np.zeros(len(log_probs), np.int64)
    if len(path):
        ends = min(2, len(states))
        _fill(path, np.ascontiguousarray(log_probs), states, blank, ends, ends)
    places = 2 * np.arange(len(tokens)) + 1
    starts, ends_at = np.searchsorted(path, places), np.searchsorted(path, places, side="right")
    score = float(log_probs[np.arange(len(path)), states[path]].astype(np.float64).sum())
    return Spans(starts, ends_at, score)


def _fill(
    path: StateArray, log_probs: FloatArray, states: StateArray, blank: int, num_starts: int, num_ends: int
) -> None:
    """Write the best path (T,) that begins in one of the first states and ends in one of the last."""
    if log_probs.shape[0] * len(states) <= MAX_BACK_POINTERS or len(path) < 3:
        back = np.zeros((len(path), len(states)), np.int8)
        trace(path, log_probs, states, blank, num_starts, num_ends, back, np.empty((2, len(states))))
        return
    middle = len(path) // 2
    state = halfway(log_probs, states, blank, num_starts, num_ends, middle)
    _fill(path[: middle + 1], log_probs[: middle + 1], states[: state + 1], blank, num_starts, 1)
    num_ends = min(num_ends, len(states) - state)
    _fill(path[middle:], log_probs[middle:], states[state:], blank, 1, num_ends)
    path[middle:] += state


@compiled_inside
def step(
    row: FloatArray,
    states: StateArray,
    blank: int,
    before: ScoreArray,
    after: ScoreArray,
    back: NDArray[np.int8],
) -> None:
    """One step of Viterbi's recursion; back (S,) is how many states each came on by."""
    for state in range(len(states)):
        best, come = before[state], 0
        if state > 0 and before[state - 1] > best:
            best, come = before[state - 1], 1
        label = states[state]
        if state > 1 and label != blank and label != states[state - 2] and before[state - 2] > best:
            best, come = before[state - 2], 2
        after[state] = best + row[label]
        back[state] = come


@compiled_inside
def last_state(scores: ScoreArray, num_ends: int) -> int:
    """The best of the last states."""
    best = len(scores) - num_ends
    for state in range(best + 1, len(scores)):
        if scores[state] > scores[best]:
            best = state
    return best


@compiled
def trace(
    path: StateArray, log_probs: FloatArray, states: StateArray, blank: int, num_starts: int, num_ends: int,
    back: NDArray[np.int8], scores: ScoreArray,
) -> None:  # fmt: skip
    """Write the best path (T,) with all back-pointers (T, S) in memory.

    (What it needs comes from outside: a function that makes arrays takes the compiler half a second longer.)
    """
    before, after = scores[0], scores[1]
    for state in range(len(states)):
        before[state] = log_probs[0, states[state]] if state < num_starts else -math.inf
    for now in range(1, len(path)):
        step(log_probs[now], states, blank, before, after, back[now])
        before, after = after, before
    state = last_state(before, num_ends)
    for now in range(len(path) - 1, -1, -1):
        path[now] = state
        state -= back[now, state]


@compiled
def halfway(
    log_probs: FloatArray, states: StateArray, blank: int, num_starts: int, num_ends: int, middle: int
) -> int:
    """The state of the best path at a step `middle` > 0, in memory linear in the number of states."""
    count = len(states)
    before, after = np.empty(count), np.empty(count)
    back = np.zeros(count, np.int8)
    passed, passed_after = np.arange(count), np.empty(count, np.int64)
    for state in range(count):
        before[state] = log_probs[0, states[state]] if state < num_starts else -math.inf
    for now in range(1, len(log_probs)):
        step(log_probs[now], states, blank, before, after, back)
        before, after = after, before
        if now > middle:
            for state in range(count):
                passed_after[state] = passed[state - back[state]]
            passed, passed_after = passed_after, passed
    return int(passed[last_state(before, num_ends)])


@compiled
def text_log_prob(log_probs: FloatArray, tokens: StateArray, blank: int) -> float:
    """Natural log of the probability of all alignments that spell tokens (L,) over log_probs (T, V)."""
    states = np.full(2 * len(tokens) + 1, blank, np.int64)
    states[1::2] = tokens
    before = np.full(len(states), -math.inf)
    before[0] = 0.0
    for now in range(len(log_probs)):
        # From the last state down, so that a step's scores can overwrite those before it.
        for state in range(len(states) - 1, -1, -1):
            label, total = states[state], before[state]
            if state > 0 and not (now == 0 and state > 1):
                total = log_add(total, before[state - 1])
            if state > 1 and label != blank and label != states[state - 2]:
                total = log_add(total, before[state - 2])
            before[state] = total + log_probs[now, label]
    return log_add(before[-1], before[-2]) if len(states) > 1 else before[-1]
