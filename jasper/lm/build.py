"""Sentences in, an n-gram model out: interpolated modified Kneser-Ney (Chen and Goodman 1998), as in lmplz.

Below the highest order an n-gram counts how many different words stand before it, save at a sentence's start.
Pruned n-grams keep their part in every sum; what they would have had goes to the back-off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.errors import LanguageModelError
from jasper.lm.arpa import LN_10, NO_LOG_PROB
from jasper.lm.ngram import BEGIN, END, SPECIAL_WORDS, UNKNOWN, Level, NGram, NodeArray, from_levels

IndexArray = NDArray[np.int64]
RealArray = NDArray[np.float64]

# Where a corpus is too small to estimate them (as lmplz's --discount_fallback).
FALLBACK_DISCOUNTS = np.array([0.0, 0.5, 1.0, 1.5])


@dataclass(frozen=True, eq=False)
class _Grams:
    """All N different n-grams of one order."""

    words: NodeArray  # (N, order)
    context: IndexArray  # (N,) which of the order below is all but the last word
    suffix: IndexArray  # (N,) which of the order below is all but the first word
    counts: IndexArray  # (N,) how often each stands in the text


def build(sentences: Iterable[str], order: int, prune: Sequence[int] = ()) -> NGram:
    """Estimate a model of an order from normalised sentences.

    `prune[k - 1]`: k-grams that occur so often or less are left out (the last one holds for higher orders
    too); unigrams always stay. Raises LanguageModelError where there is no word, or thresholds decrease.
    """
    thresholds = _thresholds(order, prune)
    words, tokens = _read(sentences)
    grams = _count(tokens, len(words), order)
    adjusted = _adjusted_counts(grams)
    levels: list[Level] = []
    probabilities = np.full(1, 1.0 / (len(words) - 1))  # every word but <s>, <unk> among them
    for index, (gram, counts) in enumerate(zip(grams, adjusted, strict=True)):
        kept = gram.counts > thresholds[index]
        own, backoffs = _discounted(gram, counts, kept, len(probabilities))
        if index:
            levels[-1] = levels[-1]._replace(backoffs=np.log(backoffs).astype(np.float32))
        probabilities = own + backoffs[gram.context] * probabilities[gram.suffix]
        with np.errstate(divide="ignore"):
            log_probs = np.log(probabilities).astype(np.float32)
        levels.append(Level(gram.words, log_probs, np.zeros(len(log_probs), np.float32)))
    levels[0].log_probs[BEGIN] = NO_LOG_PROB * LN_10
    masks = [gram.counts > threshold for gram, threshold in zip(grams, thresholds, strict=True)]
    return from_levels(words, [_kept(level, mask) for level, mask in zip(levels, masks, strict=True)])


def _thresholds(order: int, prune: Sequence[int]) -> list[int]:
    if order < 1:
        raise LanguageModelError(f"an order of {order}: it is 1 or more")
    if len(prune) > order or list(prune) != sorted(prune) or min(prune, default=0) < 0:
        raise LanguageModelError(f"prune {list(prune)}: at most {order} counts, none below the one before")
    given = [*prune, *[prune[-1] if prune else 0] * (order - len(prune))]
    return [-1, *given[1:]]


def _read(sentences: Iterable[str]) -> tuple[list[str], IndexArray]:
    """The vocabulary, and the text as ids, each sentence between <s> and </s>."""
    ids = {word: index for index, word in enumerate(SPECIAL_WORDS)}
    special = set(SPECIAL_WORDS)
    tokens: list[int] = []
    for sentence in sentences:
        spoken = sentence.split()
        if not spoken:
            continue
        if not special.isdisjoint(spoken):
            raise LanguageModelError(f"the text has one of {', '.join(SPECIAL_WORDS)}: {sentence!r:.60}")
        tokens.append(BEGIN)
        tokens.extend([ids.setdefault(word, len(ids)) for word in spoken])
        tokens.append(END)
    if not tokens:
        raise LanguageModelError("the text has no words")
    return list(ids), np.array(tokens, np.int64)


def _count(tokens: IndexArray, num_words: int, order: int) -> list[_Grams]:
    """The n-grams of each order, none across a sentence's ends; unigrams are numbered as the words are."""
    sentence = (tokens == BEGIN).cumsum()
    counts = np.bincount(tokens, minlength=num_words)
    nothing = np.zeros(num_words, np.int64)
    grams = [_Grams(np.arange(num_words, dtype=np.int32)[:, None], nothing, nothing, counts)]
    number = tokens  # of the n-gram that begins at each place of the text
    for length in range(2, order + 1):
        inside = np.flatnonzero(sentence[length - 1 :] == sentence[: len(sentence) - length + 1])
        keys = number[inside] * num_words + tokens[inside + length - 1]
        found, where, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        context, last = np.divmod(found, num_words)
        words = np.hstack([grams[-1].words[context], last[:, None].astype(np.int32)])
        grams.append(_Grams(words, context, number[inside[where] + 1], counts))
        number = np.full(len(tokens), -1, np.int64)
        number[inside] = inverse
    return grams


def _adjusted_counts(grams: Sequence[_Grams]) -> list[IndexArray]:
    adjusted = [grams[-1].counts]
    for lower, higher in zip(grams[-2::-1], grams[:0:-1], strict=True):
        preceded = np.bincount(higher.suffix, minlength=len(lower.counts))
        adjusted.insert(0, np.where(lower.words[:, 0] == BEGIN, lower.counts, preceded))
    # Nothing predicts <s>, and no text has <unk>.
    adjusted[0] = adjusted[0].copy()
    adjusted[0][[UNKNOWN, BEGIN]] = 0
    return adjusted


def _discounted(
    gram: _Grams, counts: IndexArray, kept: NDArray[np.bool_], num_contexts: int
) -> tuple[RealArray, RealArray]:
    """Each n-gram's own probability (N,), and what each context leaves for the order below (contexts,)."""
    discount = _discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(gram.context, counts, num_contexts)
    given = np.where(kept, counts - discount, 0.0)
    left = total - np.bincount(gram.context, given, num_contexts)
    safe = np.maximum(total, 1.0)
    return given / safe[gram.context], np.where(total > 0, left / safe, 1.0)


def _discounts(counts: IndexArray) -> RealArray:
    """What is taken off the counts 0, 1, 2 and from 3 on."""
    once, twice, thrice, four = (int(np.sum(counts == number)) for number in (1, 2, 3, 4))
    if not (once and twice and thrice):
        return FALLBACK_DISCOUNTS
    share = once / (once + 2 * twice)
    wanted = [2 * twice / once, 3 * thrice / twice, 4 * four / thrice]
    discounts = np.array([0.0, *(number - share * ratio for number, ratio in enumerate(wanted, start=1))])
    return discounts if ((discounts >= 0) & (discounts <= np.arange(4))).all() else FALLBACK_DISCOUNTS


def _kept(level: Level, mask: NDArray[np.bool_]) -> Level:
    return Level(level.words[mask], level.log_probs[mask], level.backoffs[mask])
