"""A search in, one that finds nothing where the network has too little evidence of speech out."""

from __future__ import annotations

import numpy as np

from jasper.decode.greedy import walk
from jasper.nonspeech import evidence
from jasper.posteriors import silenced
from jasper.types import FloatArray, Hypothesis, IntArray, Search


class EvidentSearch:
    """A search of log-probabilities that finds nothing in rows whose `evidence` is less than `least` nats."""

    def __init__(self, search: Search, least: float, blank: int, step_seconds: float) -> None:
        self.search, self.least, self.blank, self.step_seconds = search, least, blank, step_seconds

    def __call__(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """Hypotheses of log_probs (B, T, V) as the search has them; those of blanks where nothing is said."""
        rows = [row[:length] for row, length in zip(log_probs, lengths.tolist(), strict=True)]
        silent = [evidence(walk(row, self.blank)[0], self.step_seconds) < self.least for row in rows]
        return self.search(silenced(log_probs, np.array(silent, np.bool_), self.blank), lengths)
