"""A model, utterances and a language model in, WER over the weights of the language model out.

The network runs once; each pair of weights is a search over the same log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.decode.rescore import TextScorer, first_pass, load_scorer, reorder, texts_of
from jasper.evaluate import recognize_utterances
from jasper.lm import NGram
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.progress import progress_bar
from jasper.text import Tokenizer
from jasper.types import ErrorCounts, FloatArray, Hypothesis, Utterance


@dataclass(frozen=True, slots=True)
class Surface:
    """WER for each of the weights, and the best settings with theirs."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    wer: tuple[tuple[float, ...], ...]  # wer[i][j] is that of alphas[i] and betas[j]
    greedy_wer: float
    best: DecodeConfig
    best_wer: float


def tune(
    model: Model,
    utterances: Sequence[Utterance],
    lm: NGram,
    config: DecodeConfig,
    alphas: Sequence[float],
    betas: Sequence[float],
    unknowns: Sequence[float] = (),
    rescore_weights: Sequence[float] = (),
) -> Surface:
    """Try each alpha with each beta, then each penalty of unknown words with the best of them.

    After that each weight of the model that `config.rescore` names, over the texts that these find.
    `config` has all other settings; `model` searches greedily. Of equal WERs the first one stands.
    """
    rows: list[FloatArray] = [np.zeros((0, 0), np.float32)] * len(utterances)
    greedy = [""] * len(utterances)
    for index, recognition in recognize_utterances(model, utterances):
        rows[index] = recognition.log_probs
        greedy[index] = model.tokenizer.decode(recognition.hypothesis.tokens)
    batch, lengths = _padded(rows)
    references = [model.normalize(utterance.text) for utterance in utterances]

    def wer(settings: DecodeConfig) -> float:
        found = BeamSearch(model.tokenizer, settings, lm=lm)(batch, lengths)
        return _wer(references, [model.tokenizer.decode(best.tokens) for best, *_ in found])

    surface: dict[tuple[float, float], float] = {}
    with progress_bar("tuning", len(alphas) * len(betas) + len(unknowns)) as advance:
        for alpha in alphas:
            for beta in betas:
                surface[alpha, beta] = wer(config.model_copy(update={"alpha": alpha, "beta": beta}))
                advance(1)
        alpha, beta = min(surface, key=lambda pair: surface[pair])
        best = config.model_copy(update={"alpha": alpha, "beta": beta})
        best_wer = surface[alpha, beta]
        for unknown in unknowns:
            settings = best.model_copy(update={"unknown": unknown})
            found = wer(settings)
            advance(1)
            if found < best_wer:
                best, best_wer = settings, found
        if config.rescore is not None and rescore_weights:
            hypotheses = BeamSearch(model.tokenizer, first_pass(best), lm=lm)(batch, lengths)
            by_weight = _rescored(hypotheses, model.tokenizer, load_scorer(config.rescore), rescore_weights)
            wers = [_wer(references, texts) for texts in by_weight]
            best_wer = min(wers)
            best = best.model_copy(update={"rescore_weight": rescore_weights[wers.index(best_wer)]})
    return Surface(
        tuple(alphas),
        tuple(betas),
        tuple(tuple(surface[alpha, beta] for beta in betas) for alpha in alphas),
        _wer(references, greedy),
        best,
        best_wer,
    )


def _rescored(
    hypotheses: Sequence[Sequence[Hypothesis]],
    tokenizer: Tokenizer,
    scorer: TextScorer,
    weights: Sequence[float],
) -> Iterator[list[str]]:
    """The best text of each utterance for each weight; the second model runs once."""
    scores = [scorer.score(texts_of(row, tokenizer)) for row in hypotheses]
    for weight in weights:
        best = [
            reorder(row, tokenizer, known, weight)[0] for row, known in zip(hypotheses, scores, strict=True)
        ]
        yield [tokenizer.decode(one.tokens) for one in best]


def _padded(rows: Sequence[FloatArray]) -> tuple[FloatArray, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Log_probs (B, T, V) and lengths (B,) of rows (T, V)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    batch = np.zeros((len(rows), int(lengths.max()), rows[0].shape[1]), np.float32)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch, lengths


def _wer(references: Sequence[str], texts: Sequence[str]) -> float:
    counts = [count_errors(one.split(), other.split()) for one, other in zip(references, texts, strict=True)]
    return sum(counts, ErrorCounts()).rate
