"""Log-probabilities in, their best path and what it spells out: what `greedy` does with NumPy, in a loop."""

from __future__ import annotations

from jasper.compiled import compiled
from jasper.types import FloatArray, IntArray


@compiled
def walk(log_probs: FloatArray, blank: int, found: IntArray, sure: FloatArray) -> tuple[int, float]:
    """Fill in what the best path of log_probs (T, V) is; the number of tokens, and the path's score.

    found (3, T): the best label of each step, the first of equal ones; the tokens that these spell; the steps
    at which each begins. sure (2, T): the log-probabilities of the best label and of the blank. A step of
    which one is not a number has that for its best, as in NumPy.
    """
    count, score, before = 0, 0.0, blank
    for step in range(len(log_probs)):
        row = log_probs[step]
        best, label = row[0], 0
        for other in range(len(row)):
            if not row[other] <= best:  # more, or not a number
                best, label = row[other], other
                if best != best:
                    break
        found[0, step], sure[0, step], sure[1, step] = label, best, row[blank]
        score += best
        if label != blank and label != before:
            found[1, count], found[2, count] = label, step
            count += 1
        before = label
    return count, score
