"""A hypothesis and its log-probabilities in, words with times and confidence out, from whatever search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jasper.decode.align import align_tokens, text_log_prob
from jasper.text import Tokenizer
from jasper.types import FloatArray, Word


def words_of(
    tokens: Sequence[int], log_probs: FloatArray, tokenizer: Tokenizer, seconds: float
) -> tuple[Word, ...]:
    """The words that labels spell, by their best alignment to log_probs (T, V) of steps of `seconds` each.

    The confidence is the probability that nothing but the word's labels is said from the end of the label
    before them to the beginning of the one after them, over every alignment there. Raises TextError where the
    labels do not fit into the steps.
    """
    spans = align_tokens(log_probs, tokens, tokenizer.blank)
    # Before the first label is step 0, after the last one the end: index -1 and len(tokens).
    starts, ends = [*spans.starts.tolist(), len(log_probs)], [*spans.ends.tolist(), 0]
    words = []
    for first, last in _word_spans([tokenizer.labels[token] for token in tokens]):
        labels = np.array(tokens[first : last + 1], np.int64)
        heard = np.ascontiguousarray(log_probs[ends[first - 1] : starts[last + 1]])
        words.append(
            Word(
                tokenizer.decode(labels.tolist()).strip(),
                starts[first] * seconds,
                ends[last] * seconds,
                min(1.0, math.exp(text_log_prob(heard, labels, tokenizer.blank))),
            )
        )
    return tuple(words)


def _word_spans(labels: Sequence[str]) -> list[tuple[int, int]]:
    """The first and last label of each word: it ends at a space, or where a label begins with one."""
    spans: list[tuple[int, int]] = []
    inside = False
    for index, label in enumerate(labels):
        if label == " ":
            inside = False
        elif inside and not label.startswith(" "):
            spans[-1] = (spans[-1][0], index)
        else:
            spans.append((index, index))
            inside = True
    return spans
