"""N best hypotheses and a language model in, the same hypotheses by their scores together out.

Any model that gives the log-probability of whole texts will do, whatever its units: a Transformer, an n-gram.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jasper.text import Tokenizer
from jasper.types import Hypothesis


class TextScorer(Protocol):
    """A language model of texts."""

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) the natural log-probability of each of N texts, its end included."""
        ...


def rescore(
    hypotheses: Sequence[Hypothesis],
    tokenizer: Tokenizer,
    scorer: TextScorer,
    weight: float,
    word_bonus: float = 0.0,
    keep_added: float = 1.0,
) -> list[Hypothesis]:
    """Order hypotheses by their score + weight · ln P(text) + word_bonus for each word, best first.

    `keep_added` is the part that stays of what the search's own language model has added.
    """
    texts = [" ".join(tokenizer.decode(one.tokens).split()) for one in hypotheses]
    scores = scorer.score(texts) if texts else np.zeros(0)
    rescored = []
    for one, text, score in zip(hypotheses, texts, scores, strict=True):
        added = keep_added * one.added + weight * float(score) + word_bonus * len(text.split())
        rescored.append(replace(one, score=one.score - one.added + added, added=added))
    return sorted(rescored, key=lambda one: -one.score)
