"""Log-probabilities and states in, the best path through them out: Viterbi's recursion, in linear memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_in_place, compiled_into
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


def best_paths(
    log_probs: FloatArray, lengths: StateArray, states: StateArray, num_states: StateArray, blank: int
) -> StateArray:
    """`best_path` (B, T) of each row of a batch, zeros after its end. Memory is T × S.

    log_probs: (B, T, V), of whose steps lengths (B,) count. states: (B, S), of which num_states (B,) count.
    """
    (rows, steps, _), most = log_probs.shape, states.shape[1]
    paths = np.zeros((rows, steps), np.int64)
    scores = np.full((rows, 2, most), -math.inf)
    if steps:
        scores[:, 0, :2] = np.take_along_axis(log_probs[:, 0], states[:, :2], axis=1)
    back = np.empty((steps, most), np.int8)
    trace(paths, log_probs, lengths, states, num_states, blank, 2, back, scores)
    return paths


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
    scores = np.empty((1, 2, len(states)))
    scores[0, 0] = first
    lengths, num_states = np.array([len(path)]), np.array([len(states)])
    back = np.empty((len(path), len(states)), np.int8)
    trace(path[None], log_probs[None], lengths, states[None], num_states, blank, num_ends, back, scores)
    last: ScoreArray = scores[0, (len(path) - 1) % 2]
    return last


@compiled_into
def step(
    row: FloatArray,
    states: StateArray,
    count: int,
    blank: int,
    before: ScoreArray,
    after: ScoreArray,
    back: NDArray[np.int8],
) -> None:
    """One step of Viterbi's recursion; back (S,) is how many states each of the first `count` came on by."""
    for state in range(count):
        best, come = before[state], 0
        if state > 0 and before[state - 1] > best:
            best, come = before[state - 1], 1
        label = states[state]
        if state > 1 and label != blank and label != states[state - 2] and before[state - 2] > best:
            best, come = before[state - 2], 2
        after[state] = best + row[label]
        back[state] = come


@compiled_into
def last_state(scores: ScoreArray, count: int, num_ends: int) -> int:
    """The best of the last of `count` states."""
    best = count - num_ends if count > num_ends else 0
    for state in range(best + 1, count):
        if scores[state] > scores[best]:
            best = state
    return best


@compiled_in_place
def trace(
    paths: StateArray, log_probs: FloatArray, lengths: StateArray, states: StateArray, num_states: StateArray,
    blank: int, num_ends: int, back: NDArray[np.int8], scores: ScoreArray,
) -> None:  # fmt: skip
    """Write the best path (B, T) of each row; scores[:, 0] are those of its first step, back is (T, S).

    (What it needs comes from outside: a function that makes arrays takes the compiler half a second longer.)
    """
    for row in range(len(lengths)):
        before, after = scores[row, 0], scores[row, 1]
        for now in range(1, lengths[row]):
            step(log_probs[row, now], states[row], num_states[row], blank, before, after, back[now])
            before, after = after, before
        state = last_state(before, num_states[row], num_ends)
        for now in range(lengths[row] - 1, -1, -1):
            paths[row, now] = state
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
        step(log_probs[now], states, count, blank, before, after, back)
        before, after = after, before
        if now > middle:
            for state in range(count):
                passed_after[state] = passed[state - back[state]]
            passed, passed_after = passed_after, passed
    return int(passed[last_state(before, count, num_ends)])
