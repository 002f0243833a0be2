"""Log-probabilities and the states of a long text in, the best path through them out, searched for in a band.

state ▲            ╱┈┈╲      A band of states goes with the best path so far. It is looked for from the
      │        ╱┈╱━━━━━┈     left and from the right: where a band loses the path, the other one, which
      │   ╱┈┈╱━━━━┈┈╱        comes from elsewhere, finds a better one. So the band is wide enough where
      │┈╱━━━━┈┈┈╱            both find paths of one score, and is widened else, up to all states.
      └──────────────▶ step
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jasper.decode.viterbi import ScoreArray, StateArray, first_scores, trace_from
from jasper.types import FloatArray

WIDTH = 4096  # states at first: 2,000 letters, two minutes of speech
WIDEN = 4
BLOCK = 256  # steps after which the band moves; a path moves by 2 states a step at most
SAME = 1e-3  # nats between the scores of two paths that are as good as each other


class _Block(NamedTuple):
    begin: int  # the first step
    last: int  # the last one, which is also the first of the next block
    low: int  # the first state of the band
    scores: ScoreArray  # of the band's states at the first step


def path_in_a_band(log_probs: FloatArray, states: StateArray, blank: int) -> StateArray | None:
    """The state (T,) of the best path at each step, or None where no band of half of them at most holds it.

    log_probs: (T, V). states: (S,), what each emits. Work and memory are linear in T for a band that holds.
    """
    mirrored = np.ascontiguousarray(log_probs[::-1]), np.ascontiguousarray(states[::-1])
    width = WIDTH
    while 2 * width <= len(states):
        path = _from_the_left(log_probs, states, blank, width)
        other = None if path is None else _from_the_left(*mirrored, blank, width)
        if path is not None and other is not None:
            difference = path_score(path, log_probs, states) - path_score(other, *mirrored)
            if abs(difference) < SAME:
                return path
        width *= WIDEN
    return None


def path_score(path: StateArray, log_probs: FloatArray, states: StateArray) -> float:
    """Natural log of the probability of a path (T,)."""
    return float(log_probs[np.arange(len(path)), states[path]].astype(np.float64).sum())


def _from_the_left(log_probs: FloatArray, states: StateArray, blank: int, width: int) -> StateArray | None:
    blocks = list(_climb(log_probs, states, blank, width))
    if blocks[-1].low + width < len(states):
        return None  # the end of the text was never in sight
    path = np.zeros(len(log_probs), np.int64)
    end, num_ends = len(states), 2
    for block in reversed(blocks):
        steps, band = slice(block.begin, block.last + 1), slice(block.low, end)
        scores = block.scores[: end - block.low]
        last = trace_from(path[steps], log_probs[steps], states[band], blank, scores, num_ends)
        if not np.isfinite(last[-num_ends:]).any():
            return None
        path[steps] += block.low
        end, num_ends = int(path[block.begin]) + 1, 1
    return path


def _climb(log_probs: FloatArray, states: StateArray, blank: int, width: int) -> Iterator[_Block]:
    """Where the band is from block to block: around the state that is best at the block's first step."""
    low, scores = 0, first_scores(log_probs, states[:width], 2)
    thrown_away = np.zeros(BLOCK + 1, np.int64)
    for begin in range(0, max(1, len(log_probs) - 1), BLOCK):
        last = min(begin + BLOCK, len(log_probs) - 1)
        yield _Block(begin, last, low, scores)
        path, steps, band = thrown_away[: last + 1 - begin], slice(begin, last + 1), slice(low, low + width)
        scores = trace_from(path, log_probs[steps], states[band], blank, scores, 2)
        move = min(max(0, int(scores.argmax()) - width // 2), len(states) - width - low)
        low += move
        scores = np.append(scores[move:], np.full(move, -math.inf))
