"""A model, utterances and a language model in, WER over the weights of the language model out.

The network runs once; each choice of weights is a search over the same log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.decode.rescore import first_pass, load_scorer, reorder, texts_of
from jasper.evaluate import recognize_utterances
from jasper.lm import NGram
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.progress import progress_bar
from jasper.text import Tokenizer
from jasper.types import ErrorCounts, FloatArray, Hypothesis, IntArray, Utterance


@dataclass(frozen=True, slots=True)
class Weights:
    """What is tried for the language model, for each word, for unknown words, and for a second model."""

    alphas: Sequence[float]
    betas: Sequence[float]
    unknowns: Sequence[float] = ()
    rescore_weights: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Surface:
    """WER for each of the weights, and the best settings with theirs."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    wer: tuple[tuple[float, ...], ...]  # wer[i][j] is that of alphas[i] and betas[j]
    greedy_wer: float
    best: DecodeConfig  # `rescore` is None where no weight of that model lowers WER
    best_wer: float


@dataclass(frozen=True, slots=True)
class _Trials:
    """Searches over the same recordings."""

    tokenizer: Tokenizer
    lm: NGram
    log_probs: FloatArray  # (B, T, V)
    lengths: IntArray
    references: list[str]

    def search(self, settings: DecodeConfig) -> list[list[Hypothesis]]:
        return BeamSearch(self.tokenizer, settings, lm=self.lm)(self.log_probs, self.lengths)

    def wer(self, best: Sequence[Hypothesis]) -> float:
        texts = [self.tokenizer.decode(one.tokens) for one in best]
        counts = [
            count_errors(ref.split(), text.split()) for ref, text in zip(self.references, texts, strict=True)
        ]
        return sum(counts, ErrorCounts()).rate

    def searched_wer(self, settings: DecodeConfig) -> float:
        return self.wer([best for best, *_ in self.search(settings)])

    def rescored_wers(self, config: DecodeConfig, weights: Sequence[float]) -> Iterator[tuple[float, float]]:
        """WER and weight, for each weight of the model that `config.rescore` names; it runs once."""
        if config.rescore is None:
            return
        found, scorer = self.search(first_pass(config)), load_scorer(config.rescore)
        scores = [scorer.score(texts_of(row, self.tokenizer)) for row in found]
        for weight in weights:
            rows = zip(found, scores, strict=True)
            yield self.wer([reorder(row, self.tokenizer, known, weight)[0] for row, known in rows]), weight


def tune(
    model: Model, utterances: Sequence[Utterance], lm: NGram, config: DecodeConfig, weights: Weights
) -> Surface:
    """Try each alpha with each beta, then each penalty of unknown words with the best of them.

    After that each weight of the model that `config.rescore` names, over the texts that these find.
    `config` has all other settings; `model` searches greedily. Of equal WERs the first one stands.
    """
    trials, greedy_wer = _recognize(model, utterances, lm)
    surface: dict[tuple[float, float], float] = {}
    with progress_bar("tuning", len(weights.alphas) * len(weights.betas) + len(weights.unknowns)) as advance:
        for alpha in weights.alphas:
            for beta in weights.betas:
                settings = config.model_copy(update={"alpha": alpha, "beta": beta})
                surface[alpha, beta] = trials.searched_wer(settings)
                advance(1)
        alpha, beta = min(surface, key=lambda pair: surface[pair])
        best, best_wer = config.model_copy(update={"alpha": alpha, "beta": beta}), surface[alpha, beta]
        for unknown in weights.unknowns:
            settings = best.model_copy(update={"unknown": unknown})
            wer = trials.searched_wer(settings)
            advance(1)
            if wer < best_wer:
                best, best_wer = settings, wer
    rescored_wer, weight = min(trials.rescored_wers(best, weights.rescore_weights), default=(best_wer, 0.0))
    if rescored_wer < best_wer:
        best, best_wer = best.model_copy(update={"rescore_weight": weight}), rescored_wer
    else:
        best = best.model_copy(update={"rescore": None, "rescore_weight": 0.0})
    return Surface(
        tuple(weights.alphas),
        tuple(weights.betas),
        tuple(tuple(surface[alpha, beta] for beta in weights.betas) for alpha in weights.alphas),
        greedy_wer,
        best,
        best_wer,
    )


def _recognize(model: Model, utterances: Sequence[Utterance], lm: NGram) -> tuple[_Trials, float]:
    """What the network makes of utterances, and the WER of that."""
    rows: list[FloatArray] = [np.zeros((0, 0), np.float32)] * len(utterances)
    greedy = [Hypothesis((), (), 0.0)] * len(utterances)
    for index, recognition in recognize_utterances(model, utterances):
        rows[index], greedy[index] = recognition.log_probs, recognition.hypothesis
    references = [model.normalize(utterance.text) for utterance in utterances]
    trials = _Trials(model.tokenizer, lm, *_padded(rows), references)
    return trials, trials.wer(greedy)


def _padded(rows: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
    """Log_probs (B, T, V) and lengths (B,) of rows (T, V)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    batch = np.zeros((len(rows), int(lengths.max()), rows[0].shape[1]), np.float32)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch, lengths
