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
Records = Any  # an array of records: one argument to the compiler where columns are many
Record = Any  # a row of it


# A label of the network.
LABEL = np.dtype(
    [
        ("word", np.int64),  # the language model's for it, where that predicts labels
        ("first", np.int64),  # its letters are letters[first] up to the next label's first
        ("opens", np.int64),  # 1: it begins with a space, and a word ends before it
    ]
)

# A node of the lexicon's trie.
PLACE = np.dtype(
    [
        ("first", np.int32),  # its children are places[first] up to the next place's first
        ("word", np.int32),  # the language model's, which ends here; -1 where none does
        ("expected", np.float64),  # score that the best word through here may be expected to add
    ]
)

# A state of the hotwords' automaton.
HOT = np.dtype(
    [
        ("bonus", np.float64),  # added on arrival
        ("expected", np.float64),  # of the hotword that has begun
    ]
)


class Fusion(NamedTuple):
    """Tables that score texts. Place 0 is between two words, the last but one "in an unknown word"."""

    ngram: NodeTable
    labels: Records  # (V + 1,) of LABEL; the last is the end of the one before
    letters: IndexArray  # of all labels, the spaces at their beginnings left out
    places: Records  # (P + 1,) of PLACE; the last is the end of the one before
    place_letters: PlaceArray  # (P,) that lead to each place
    hot_next: IndexArray  # (H, letters) the automaton of the hotwords
    hot: Records  # (H,) of HOT


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
    word = fusion.places[place].word
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
    label = fusion.labels[token]
    if rule.by_token:
        score, state = advance(fusion.ngram, state, label.word)
        exact += rule.alpha * score + rule.beta
    if label.opens and place != 0:
        added, state = close_word(fusion, rule, place, state)
        place = 0
        hot = fusion.hot_next[hot, rule.space]
        exact += added + fusion.hot[hot].bonus
    for index in range(label.first, fusion.labels[token + 1].first):
        letter = fusion.letters[index]
        place = find(fusion.place_letters, fusion.places[place].first, fusion.places[place + 1].first, letter)
        if place < 0:  # no word goes on like that
            place = len(fusion.place_letters) - 1
        hot = fusion.hot_next[hot, letter]
        exact += fusion.hot[hot].bonus
    after.place, after.state, after.hot = place, state, hot
    after.exact = exact
    after.estimate = exact + fusion.places[place].expected + fusion.hot[hot].expected


@compiled_inside
def finish(fusion: Fusion, rule: Rule, node: Record) -> float:
    """What is added to a text that ends with this prefix (of NODE)."""
    state, exact = node.state, node.exact
    if node.place != 0:
        added, state = close_word(fusion, rule, node.place, state)
        exact += added
        if rule.space >= 0:
            exact += fusion.hot[fusion.hot_next[node.hot, rule.space]].bonus
    score, _ = advance(fusion.ngram, state, rule.end)
    return float(exact + rule.alpha * score)
