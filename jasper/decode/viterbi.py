"""Log-probabilities and states in, the best path through them out: Viterbi's recursion, in linear memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_inside
from jasper.types import FloatArray

StateArray = NDArray[np.int64]  # a state is a place in: blank, label, blank, label, …, blank
ScoreArray = NDArray[np.float64]

# Bytes of back-pointers, above which the utterance is halved: an hour takes as much memory as a minute.
MAX_BACK_POINTERS = 1 << 24


def best_path(log_probs: FloatArray, states: StateArray, blank: int) -> StateArray:
    """The state (T,) of the best path at each step, from one of the first two states to one of the last two.

    log_probs: (T, V). states: (S,), what each emits. Work is T × S, memory beside log_probs T + S.
    """
    path = np.zeros(len(log_probs), np.int64)
    if len(path):
        ends = min(2, len(states))
        _fill(path, log_probs, states, blank, ends, ends)
    return path


def _fill(
    path: StateArray, log_probs: FloatArray, states: StateArray, blank: int, num_starts: int, num_ends: int
) -> None:
    """Write the best path (T,) that begins in one of the first states and ends in one of the last."""
    if len(path) * len(states) <= MAX_BACK_POINTERS or len(path) < 3:
        trace_from(path, log_probs, states, blank, first_scores(log_probs, states, num_starts), num_ends)
        return
    middle = len(path) // 2
    state = halfway(log_probs, states, blank, num_starts, num_ends, middle)
    _fill(path[: middle + 1], log_probs[: middle + 1], states[: state + 1], blank, num_starts, 1)
    num_ends = min(num_ends, len(states) - state)
    _fill(path[middle:], log_probs[middle:], states[state:], blank, 1, num_ends)
    path[middle:] += state


def first_scores(log_probs: FloatArray, states: StateArray, num_starts: int) -> ScoreArray:
    """(S,) scores of the states at the first step, of which the first ones are possible."""
    scores = np.full(len(states), -math.inf)
    scores[:num_starts] = log_probs[0, states[:num_starts]]
    return scores


def trace_from(
    path: StateArray, log_probs: FloatArray, states: StateArray, blank: int, first: ScoreArray, num_ends: int
) -> ScoreArray:
    """Write the best path (T,) from scores (S,) of the first step to a last state; the last step's scores."""
    back = np.zeros((len(path), len(states)), np.int8)
    scores = np.empty((2, len(states)))
    scores[0] = first
    trace(path, log_probs, states, blank, num_ends, back, scores)
    last: ScoreArray = scores[(len(path) - 1) % 2]
    return last


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
    path: StateArray, log_probs: FloatArray, states: StateArray, blank: int, num_ends: int,
    back: NDArray[np.int8], scores: ScoreArray,
) -> None:  # fmt: skip
    """Write the best path (T,) with all back-pointers (T, S) in memory; scores[0] are the first step's.

    (What it needs comes from outside: a function that makes arrays takes the compiler half a second longer.)
    """
    before, after = scores[0], scores[1]
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
