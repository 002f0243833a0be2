"""N best hypotheses and a language model in, the same hypotheses by their scores together out.

Any model that gives the log-probability of whole texts will do, whatever its units: a Transformer, an n-gram.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jasper.config import DecodeConfig
from jasper.errors import LanguageModelError
from jasper.lm import NGram, load
from jasper.text import Tokenizer
from jasper.types import FloatArray, Hypothesis, IntArray, Search

# What a path is -> (module, function `(path) -> TextScorer`).
SCORERS: dict[str, tuple[str, str]] = {
    "file": ("jasper.decode.rescore", "load_ngram"),
    "folder": ("jasper.nn.causal", "load"),
}


class TextScorer(Protocol):
    """A language model of texts."""

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) the natural log-probability of each of N texts, its end included."""
        ...


class NGramScorer:
    """An n-gram model of words, whatever the search had."""

    def __init__(self, model: NGram) -> None:
        self.model = model

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """See `TextScorer.score`."""
        return np.array([self.model.score(text) for text in texts])


def load_ngram(path: Path) -> NGramScorer:
    """The scorer of an ARPA or binary file."""
    return NGramScorer(load(path))


def load_scorer(path: Path) -> TextScorer:
    """The language model of a file (n-grams) or of a folder (a causal model of the `transformers` library).

    Raises LanguageModelError for what is neither, and for a folder where that library is not installed.
    """
    module, function = SCORERS["folder" if path.is_dir() else "file"]
    try:
        make: Callable[[Path], TextScorer] = getattr(import_module(module), function)
        return make(path)
    except ImportError as error:
        raise LanguageModelError(
            f"{path}: a folder is a model of transformers, which is not installed ({error}); "
            "run: pip install 'jasper-asr[rescore]'"
        ) from None


def first_pass(config: DecodeConfig) -> DecodeConfig:
    """The settings of the search whose texts are rescored."""
    nbest = max(config.nbest, config.rescore_nbest)
    recombine = config.recombine is not False  # among the texts is the one that a search for one would find
    return config.model_copy(update={"rescore": None, "nbest": nbest, "recombine": recombine})


class Rescoring:
    """A search whose hypotheses a second language model orders."""

    def __init__(
        self, search: Search, tokenizer: Tokenizer, scorer: TextScorer, config: DecodeConfig
    ) -> None:
        self.search, self.tokenizer, self.scorer, self.config = search, tokenizer, scorer, config

    def __call__(self, log_probs: FloatArray, lengths: IntArray) -> list[list[Hypothesis]]:
        """The N best hypotheses of each row, as a search gives them."""
        weight, nbest = self.config.rescore_weight, self.config.nbest
        found = self.search(log_probs, lengths)
        return [rescore(row, self.tokenizer, self.scorer, weight)[:nbest] for row in found]


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
    scores = scorer.score(texts_of(hypotheses, tokenizer)) if hypotheses else np.zeros(0)
    return reorder(hypotheses, tokenizer, scores, weight, word_bonus, keep_added)


def texts_of(hypotheses: Sequence[Hypothesis], tokenizer: Tokenizer) -> list[str]:
    """The words of each, one space between them."""
    return [tokenizer.text(one.tokens) for one in hypotheses]


def reorder(
    hypotheses: Sequence[Hypothesis],
    tokenizer: Tokenizer,
    scores: NDArray[np.float64],
    weight: float,
    word_bonus: float = 0.0,
    keep_added: float = 1.0,
) -> list[Hypothesis]:
    """`rescore`, with the scores (N,) of the N texts."""
    rescored = []
    for one, text, score in zip(hypotheses, texts_of(hypotheses, tokenizer), scores, strict=True):
        added = keep_added * one.added + weight * float(score) + word_bonus * len(text.split())
        rescored.append(replace(one, score=one.score - one.added + added, added=added))
    return sorted(rescored, key=lambda one: -one.score)
