"""A prefix and one more label in, what a language model, a lexicon and hotwords add to its score out.

`exact` is what they add for the words that are complete, `estimate` is that and what the unfinished word may
be expected to add (in flashlight: smearing); the estimate orders the beam alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled_inline, compiled_inside
from jasper.lm.ngram import UNKNOWN, Node, NodeTable, advance, find

IndexArray = NDArray[np.int64]  # of one kind everywhere, or numba compiles a loop for each
Float64Array = NDArray[np.float64]
PlaceArray = NDArray[np.int32]  # read-only, as a language model's
Record = Any  # a row of an array of records


class Fusion(NamedTuple):
    """Tables that score texts. A place is a node of the lexicon's trie; 0 is between two words."""

    ngram: NodeTable
    token_word: IndexArray  # (V,) the language model's word for each label, where it predicts labels
    label_first: PlaceArray  # (V + 1,) the letters of label i are letters first[i] to first[i + 1]
    label_letter: IndexArray  # all labels' letters, the spaces at their beginnings left out
    label_opens: IndexArray  # (V,) 1 where a label begins with a space: a word ends before it
    place_first: PlaceArray  # (P + 1,) the children of place i are places first[i] to first[i + 1]
    place_letter: PlaceArray  # (P,) the letter that leads to a place; the last place is "in an unknown word"
    place_word: PlaceArray  # (P,) the language model's word that ends here; -1 where none does
    place_expected: Float64Array  # (P,) score that the best word through here may be expected to add
    hot_next: IndexArray  # (H, letters) automaton of the hotwords
    hot_bonus: Float64Array  # (H,) added on arrival
    hot_expected: Float64Array  # (H,) expected of the hotword that has begun


class Rule(NamedTuple):
    """Numbers of the search; scores are natural logarithms."""

    beam_width: int
    cutoff_top_n: int  # labels tried at each step, at most: the likeliest …
    cutoff_prob: float  # … until they have this probability together
    prune: float  # prefixes this much below the best are dropped
    recombine: bool  # of prefixes that will be scored alike from here on, keep the best alone
    alpha: float  # weight of the language model
    beta: float  # added for each unit that the language model predicts
    unknown: float  # added for each word that is not in the lexicon
    blank: int
    gap: int  # a label that says no more after itself, nor before all others: the space; -1 for none
    space: int  # the letter between words; -1 where there is none
    by_token: bool  # the language model predicts labels, not words
    start: int  # state of the language model before the first word
    end: int  # its word for the end of the sentence


@compiled_inside
def close_word(fusion: Fusion, rule: Rule, place: Node, state: Node) -> tuple[float, Node]:
    """What the word that ends at a place adds, and the language model's state after it."""
    word = fusion.place_word[place]
    added = 0.0
    if word < 0:
        added = rule.unknown
        word = UNKNOWN
    if not rule.by_token:
        score, state = advance(fusion.ngram, state, word)
        added += rule.alpha * score + rule.beta
    return added, state


@compiled_inline
def extend(fusion: Fusion, rule: Rule, node: Record, token: int, after: Record) -> None:
    """Set place, state, hot, exact and estimate `after` a prefix (of NODE) that one more label continues."""
    place, state, hot, exact = node.place, node.state, node.hot, node.exact
    if rule.by_token:
        score, state = advance(fusion.ngram, state, fusion.token_word[token])
        exact += rule.alpha * score + rule.beta
    if fusion.label_opens[token] and place != 0:
        added, state = close_word(fusion, rule, place, state)
        place = 0
        hot = fusion.hot_next[hot, rule.space]
        exact += added + fusion.hot_bonus[hot]
    for index in range(fusion.label_first[token], fusion.label_first[token + 1]):
        letter = fusion.label_letter[index]
        place = find(fusion.place_letter, fusion.place_first[place], fusion.place_first[place + 1], letter)
        if place < 0:  # no word goes on like that
            place = len(fusion.place_letter) - 1
        hot = fusion.hot_next[hot, letter]
        exact += fusion.hot_bonus[hot]
    after.place, after.state, after.hot = place, state, hot
    after.exact = exact
    after.estimate = exact + fusion.place_expected[place] + fusion.hot_expected[hot]


@compiled_inside
def finish(fusion: Fusion, rule: Rule, node: Record) -> float:
    """What is added to a text that ends with this prefix (of NODE)."""
    state, exact = node.state, node.exact
    if node.place != 0:
        added, state = close_word(fusion, rule, node.place, state)
        exact += added
        if rule.space >= 0:
            exact += fusion.hot_bonus[fusion.hot_next[node.hot, rule.space]]
    score, _ = advance(fusion.ngram, state, rule.end)
    return float(exact + rule.alpha * score)
