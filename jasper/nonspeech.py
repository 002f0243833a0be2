"""What a network makes of sound in; where nothing is said, and how sure it is of speech, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jasper.types import BestPath

if TYPE_CHECKING:
    from jasper.posteriors import Posteriors

# Share of ln V: a network is unsure whose posteriors have more entropy than this over UNSURE_S.
UNSURE = 0.5
UNSURE_S = 3.0
# Shares that may have less evidence than is asked for: of right words, each by itself, and of utterances in
# which a word was heard rightly.
LOST = 0.02
LOST_UTTERANCES = 0.002
FEWEST_WORDS = round(1 / LOST)  # that say something of such a share
EVIDENCE_S = 0.2  # a letter or two: longer ones add up what noise has, shorter ones are one label


def hush(heard: Posteriors, step_seconds: float) -> Posteriors:
    """Posteriors of T steps that say blank where the network is unsure for UNSURE_S, as it is of noise.

    Clips of speech have an entropy of 0.15 to 0.42 of ln V with the weakest network here (WER 80 %); rain,
    fans and white noise have 0.6 to 0.85. What is shorter than UNSURE_S comes back as it is.
    """
    width = max(1, round(UNSURE_S / step_seconds))
    if len(heard) < width:
        return heard
    doubt = heard.entropy() - UNSURE
    starts = np.convolve(doubt, np.ones(width), mode="valid") > 0
    if not starts.any():
        return heard
    unsure = np.convolve(starts, np.ones(width)) > 0.5  # one of them begins no more than the width before
    # Speech right before or after noise stays: in the third of that time around it, the network is sure.
    unsure &= np.convolve(doubt, np.ones(max(1, width // 3)), mode="same") > 0
    return heard.silenced(unsure)


def evidence(path: BestPath, step_seconds: float) -> float:
    """How many nats labels are likelier than blanks, in the EVIDENCE_S of a path (T,) with most."""
    steps = len(path.labels)
    if steps == 0:
        return 0.0
    width = min(steps, max(1, round(EVIDENCE_S / step_seconds)))
    above = path.log_probs - path.blanks
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
