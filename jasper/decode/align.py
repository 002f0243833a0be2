"""Log-probabilities and a text in, when each of its labels is said out: forced alignment (Viterbi)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled
from jasper.decode.band import path_in_a_band, path_score
from jasper.decode.prefixes import log_add
from jasper.decode.viterbi import MAX_BACK_POINTERS, StateArray, best_path, best_paths
from jasper.errors import TextError
from jasper.text import min_frames
from jasper.types import FloatArray


class Spans(NamedTuple):
    """Label i is emitted from step starts[i] to step ends[i], half open, on the best path."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    score: float  # natural log of the probability of the path


def align_tokens(log_probs: FloatArray, tokens: Sequence[int], blank: int) -> Spans:
    """The best alignment of labels (L,) to log_probs (T, V), all of whose steps are valid.

    Memory beside log_probs is linear in T and L; so is work, where a long text is what is said: see `band`.
    Raises TextError where the labels do not fit into the steps.
    """
    if min_frames(tokens) > len(log_probs):
        raise TextError(f"{len(tokens)} labels do not fit into {len(log_probs)} steps")
    states = np.full(2 * len(tokens) + 1, blank, np.int64)
    states[1::2] = tokens
    log_probs = np.ascontiguousarray(log_probs)
    path = _path(log_probs, states, blank)
    places = 2 * np.arange(len(tokens)) + 1
    starts, ends = np.searchsorted(path, places), np.searchsorted(path, places, side="right")
    return Spans(starts, ends, path_score(path, log_probs, states))


def label_starts(
    log_probs: FloatArray, lengths: StateArray, tokens: StateArray, num_tokens: StateArray, blank: int
) -> list[tuple[int, ...]]:
    """When each label of each row begins: `align_tokens` for a batch of texts that fit into the steps.

    log_probs: (B, T, V), of whose steps lengths (B,) count. tokens: (B, L), of which num_tokens (B,) count.
    """
    states = np.full((len(tokens), 2 * tokens.shape[1] + 1), blank, np.int64)
    states[:, 1::2] = tokens
    num_states = 2 * num_tokens + 1
    if log_probs.shape[1] * states.shape[1] <= MAX_BACK_POINTERS:
        paths = best_paths(log_probs, lengths, states, num_states, blank)
    else:
        paths = np.zeros(log_probs.shape[:2], np.int64)
        for row, (length, count) in enumerate(zip(lengths, num_states, strict=True)):
            paths[row, :length] = _path(log_probs[row, :length], states[row, :count], blank)
    # A label is an odd state, and begins where the path comes to it.
    begins = (paths % 2 == 1) & (np.diff(paths, axis=1, prepend=0) != 0)
    starts, ends = begins.nonzero()[1].tolist(), num_tokens.cumsum().tolist()
    return [tuple(starts[begin:end]) for begin, end in itertools.pairwise([0, *ends])]


def _path(log_probs: FloatArray, states: StateArray, blank: int) -> StateArray:
    path = path_in_a_band(log_probs, states, blank)
    return best_path(log_probs, states, blank) if path is None else path


@compiled
def text_log_prob(log_probs: FloatArray, tokens: StateArray, blank: int, gap: int = -1) -> float:
    """Natural log of the probability of all alignments that spell tokens (L,) over log_probs (T, V).

    `gap`: a label that may come again after itself, and before all others, without being spelt; -1 for none.
    """
    states = np.full(2 * len(tokens) + 1, blank, np.int64)
    states[1::2] = tokens
    before = np.full(len(states), -math.inf)
    before[0] = 0.0
    for now in range(len(log_probs)):
        # From the last state down, so that a step's scores can overwrite those before it.
        for state in range(len(states) - 1, -1, -1):
            label, come = states[state], -math.inf
            emitted = stays = np.float64(log_probs[now, label])
            if gap >= 0 and (state == 0 or (label == blank and states[state - 1] == gap)):
                stays = log_add(emitted, np.float64(log_probs[now, gap]))
            if state > 0 and not (now == 0 and state > 1):
                come = before[state - 1]
            if state > 1 and label != blank and label != states[state - 2]:
                come = log_add(come, before[state - 2])
            before[state] = log_add(before[state] + stays, come + emitted)
    return log_add(before[-1], before[-2]) if len(states) > 1 else before[-1]
