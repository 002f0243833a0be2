"""Log-probabilities in, the same with blanks out where nothing is said, by what the network makes of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jasper.types import FloatArray, Hypothesis, IntArray, Search

# Share of ln V: a network is unsure whose posteriors have more entropy than this over UNSURE_S.
UNSURE = 0.5
UNSURE_S = 3.0
ALMOST_NEVER = -20.0  # natural log of the probability of a label where nothing is said
# Shares that may have less evidence than is asked for: of right words, each by itself, and of utterances in
# which a word was heard rightly.
LOST = 0.02
LOST_UTTERANCES = 0.002
FEWEST_WORDS = round(1 / LOST)  # that say something of such a share
EVIDENCE_S = 0.2  # a letter or two: longer ones add up what noise has, shorter ones are one label


def hush(log_probs: FloatArray, blank: int, step_seconds: float) -> FloatArray:
    """Log_probs (T, V) that say blank where the network is unsure for UNSURE_S, as it is of noise.

    Clips of speech have an entropy of 0.15 to 0.42 of ln V with the weakest network here (WER 80 %); rain,
    fans and white noise have 0.6 to 0.85. What is shorter than UNSURE_S comes back as it is.
    """
    steps, num_classes = log_probs.shape
    width = max(1, round(UNSURE_S / step_seconds))
    if steps < width:
        return log_probs
    doubt = -(np.exp(log_probs) * log_probs).sum(axis=1, dtype=np.float64) / math.log(num_classes) - UNSURE
    unsure = np.zeros(steps, dtype=np.bool_)
    for start in np.flatnonzero(np.convolve(doubt, np.ones(width), mode="valid") > 0):
        unsure[start : start + width] = True
    # Speech right before or after noise stays: in the third of that time around it, the network is sure.
    unsure &= np.convolve(doubt, np.ones(max(1, width // 3)), mode="same") > 0
    return _blanked(log_probs, unsure, blank)


def evidence(log_probs: FloatArray, blank: int, step_seconds: float) -> float:
    """How many nats labels are likelier than blanks, in the EVIDENCE_S of log_probs (T, V) with most."""
    if len(log_probs) == 0:
        return 0.0
    width = min(len(log_probs), max(1, round(EVIDENCE_S / step_seconds)))
    above = log_probs.max(axis=1) - log_probs[:, blank]
    return float(np.convolve(above, np.ones(width), mode="valid").max())


def least_evidence(words: NDArray[np.float64], utterances: NDArray[np.float64]) -> float:
    """The nats to ask of an utterance, from the `evidence` (N,) of right words, each by itself, and (M,) of
    the utterances that they are in.

    All but LOST of the words have so many alone, which bounds what is lost where a word is all that is said:
    where there are more, one is enough. And all but LOST_UTTERANCES of the utterances have so many, so that
    single words cost next to nothing where they are what the model is for. 0 where there are fewer
    than FEWEST_WORDS.
    """
    if len(words) < FEWEST_WORDS:
        return 0.0
    of_words = np.quantile(words, LOST, method="lower")
    return float(min(of_words, np.quantile(utterances, LOST_UTTERANCES, method="lower")))


class EvidentSearch:
    """A search that finds nothing in rows whose `evidence` is less than `least`."""

    def __init__(self, search: Search, least: float, blank: int, step_seconds: float) -> None:
        self.search, self.least, self.blank, self.step_seconds = search, least, blank, step_seconds

    def __call__(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """Hypotheses of log_probs (B, T, V) as the search has them; those of blanks where nothing is said."""
        rows = [row[:length] for row, length in zip(log_probs, lengths, strict=True)]
        silent = [evidence(row, self.blank, self.step_seconds) < self.least for row in rows]
        return self.search(_blanked(log_probs, np.array(silent, np.bool_), self.blank), lengths)


def _blanked(log_probs: FloatArray, where: NDArray[np.bool_], blank: int) -> FloatArray:
    """A copy that says blank at places of its first axis; labels are its last."""
    changed: FloatArray = log_probs.copy()
    changed[where] = ALMOST_NEVER
    changed[where, ..., blank] = 0.0
    return changed
