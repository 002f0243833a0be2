"""Text in, the pieces out that SentencePiece cuts it into: its unigram and byte-pair algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise


def unigram(text: str, scores: Mapping[str, float]) -> list[str] | None:
    """The pieces whose scores (log-probabilities) sum to the most (Kudo 2018); None where none spell it."""
    longest = max(map(len, scores))
    # best[end]: the sum of the best way to spell text[:end], and where its last piece starts.
    best: list[tuple[float, int] | None] = [(0.0, 0)] + [None] * len(text)
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end):
            before, score = best[start], scores.get(text[start:end])
            if before is None or score is None:
                continue
            found = best[end]
            if found is None or before[0] + score > found[0]:
                best[end] = (before[0] + score, start)
    pieces: list[str] = []
    end = len(text)
    while end:
        step = best[end]
        if step is None:
            return None
        pieces.append(text[step[1] : end])
        end = step[1]
    return pieces[::-1]


def bpe(text: str, scores: Mapping[str, float]) -> list[str] | None:
    """Characters, of which the two neighbours with the best score merge, again and again (Sennrich 2016)."""
    pieces = list(text)
    while len(pieces) > 1:
        pairs = [first + second for first, second in pairwise(pieces)]
        best = max(range(len(pairs)), key=lambda place: scores.get(pairs[place], float("-inf")))
        if pairs[best] not in scores:
            break
        pieces[best : best + 2] = [pairs[best]]
    return pieces if all(piece in scores for piece in pieces) else None


ALGORITHMS: dict[str, Callable[[str, Mapping[str, float]], list[str] | None]] = {
    "unigram": unigram,
    "bpe": bpe,
}
