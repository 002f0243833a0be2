"""N-grams of every order in, a back-off model as an automaton of flat arrays out; words in, scores out.

A node is an n-gram that the model lists, and at the same time the state "these were the last words". Nodes
are numbered breadth first, so the n-grams that continue a node are neighbours, sorted by their last word:

    node 0      the empty context
    node 1 + i  the word i
    then the 2-grams by (first word, last word), the 3-grams by (their 2-gram, last word), …

Scoring a word looks for it among the continuations of the state; where it is not, the back-off weight is
paid and the search goes on from the longest shorter context that is listed, `suffix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled, compiled_inside
from jasper.errors import LanguageModelError
from jasper.types import FloatArray

NodeArray = NDArray[np.int32]
Node = int | np.int32  # its number, as it stands in an array or not

# The first words of every vocabulary.
UNKNOWN, BEGIN, END = 0, 1, 2
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")


class Level(NamedTuple):
    """All n-grams of one order: words (N, order), natural log-probabilities (N,), back-off weights (N,)."""

    words: NodeArray
    log_probs: FloatArray
    backoffs: FloatArray


class NodeTable(NamedTuple):
    """The arrays of the automaton, for N nodes of which the first M are of less than the highest order."""

    word: NodeArray  # (N,) last word of the n-gram; -1 for the empty context
    log_prob: FloatArray  # (N,) natural log-probability of that word after the ones before it
    suffix: NodeArray  # (N,) the longest listed n-gram that this one ends in
    backoff: FloatArray  # (M,) natural log
    first: NodeArray  # (M + 1,) the continuations of node i are nodes first[i] to first[i + 1]


@compiled_inside
def find(column: NodeArray, low: Node, end: Node, value: Node) -> Node:
    """The index from low to end at which an increasing column has a value, or -1."""
    high = end
    while low < high:
        middle = (low + high) // 2
        if column[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < end and column[low] == value else -1


@compiled_inside
def find_child(table: NodeTable, node: Node, word: Node) -> Node:
    """The node of an n-gram continued by a word, or -1. `node` is of less than the highest order."""
    return 1 + word if node == 0 else find(table.word, table.first[node], table.first[node + 1], word)


@compiled_inside
def advance(table: NodeTable, state: Node, word: Node) -> tuple[float, Node]:
    """Natural log-probability of a word in a state, and the state after it."""
    score = 0.0
    while True:  # one call: numba compiles a function for each kind of argument
        child = find_child(table, state, word)
        if child >= 0:
            break
        score += table.backoff[state]
        state = table.suffix[state]
    score += table.log_prob[child]
    return score, child if child < table.backoff.shape[0] else table.suffix[child]


@compiled
def scores_of(table: NodeTable, state: Node, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) natural log-probability of each word, from a state on."""
    scores = np.empty(len(words))
    for index in range(len(words)):
        scores[index], state = advance(table, state, words[index])
    return scores


@dataclass(frozen=True, eq=False)
class NGram:
    """A back-off n-gram model. `words[i]` is the word with the id i; ids 0 to 2 are `SPECIAL_WORDS`."""

    order: int
    words: Sequence[str]
    table: NodeTable
    num_ngrams: tuple[int, ...]  # of each order

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word -> id."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return 1 + BEGIN if self.order > 1 else 0

    def score_words(self, text: str) -> list[float]:
        """Natural log-probability of each word of a sentence, and of its end, each after those before it."""
        ids = [*(self.ids.get(word, UNKNOWN) for word in text.split()), END]
        scores: list[float] = scores_of(self.table, self.start, np.array(ids, np.int64)).tolist()
        return scores

    def score(self, text: str) -> float:
        """Natural log-probability of a sentence, its end included."""
        return sum(self.score_words(text))


def from_levels(words: Sequence[str], levels: Sequence[Level]) -> NGram:
    """Make a model of its n-grams, lowest order first, in any order within each.

    Raises LanguageModelError where a word has no unigram, an n-gram is given twice, or the one that it
    continues is not given.
    """
    unigrams = levels[0].words[:, 0]
    if not np.array_equal(np.sort(unigrams), np.arange(len(words))):
        raise LanguageModelError("the unigrams are not each word of the vocabulary once")
    keys = _Keys(len(words))
    sorted_levels = [_sorted_level(level, keys) for level in levels]
    sizes = [len(level.log_probs) for level in sorted_levels]
    num_inner = 1 + sum(sizes[:-1])
    first = np.searchsorted(keys.parents(), np.arange(num_inner + 1)) + 1
    empty = np.zeros(1, np.float32)
    table = NodeTable(
        word=np.concatenate([np.array([-1], np.int32), *(level.words[:, -1] for level in sorted_levels)]),
        log_prob=np.concatenate([empty, *(level.log_probs for level in sorted_levels)]),
        suffix=keys.suffixes(),
        backoff=np.concatenate([empty, *(level.backoffs for level in sorted_levels[:-1])]),
        first=first.astype(np.int32),
    )
    return NGram(len(levels), words, frozen(table), tuple(sizes))


def frozen(table: NodeTable) -> NodeTable:
    """The same arrays, read-only: numba compiles for one kind of array alone."""
    for array in table:
        array.flags.writeable = False
    return table


class _Keys:
    """Nodes numbered so far. An n-gram's key is its context's node and its last word in one number."""

    def __init__(self, num_words: int) -> None:
        self.num_words = num_words
        self.levels: list[NDArray[np.int64]] = []  # sorted keys of each order
        self.offsets = [1]  # the first node of each order

    def nodes(self, words: NodeArray) -> NDArray[np.int64]:
        """(N, n) words to the N nodes of these n-grams; -1 where one is not there."""
        nodes = np.zeros(len(words), np.int64)
        for order, column in enumerate(words.T):
            nodes = self.children(nodes, column, order)
        return nodes

    def children(self, nodes: NDArray[np.int64], words: NDArray[Any], order: int) -> NDArray[np.int64]:
        """Each node, all of one order (or -1), continued by a word; -1 where there is no such n-gram."""
        level = self.levels[order]
        key = nodes * self.num_words + words
        place = np.searchsorted(level, key)
        found = nodes >= 0
        found[found] = np.append(level, -1)[place[found]] == key[found]
        return np.where(found, place + self.offsets[order], -1)

    def add(self, keys: NDArray[np.int64]) -> None:
        self.levels.append(keys)
        self.offsets.append(self.offsets[-1] + len(keys))

    def parents(self) -> NDArray[np.int64]:
        """(N - 1,) the context of every node but the first, in the order of the nodes."""
        return np.concatenate(self.levels) // self.num_words

    def suffixes(self) -> NodeArray:
        """The suffix of every node: its context's suffix continued by its word, or a shorter one."""
        suffix = np.zeros(self.offsets[-1], np.int32)
        for order, keys in enumerate(self.levels[1:], start=1):
            context, word = np.divmod(keys, self.num_words)
            found = np.full(len(keys), -1, np.int64)
            while (left := np.flatnonzero(found < 0)).size:
                context[left] = suffix[context[left]]
                orders = np.searchsorted(self.offsets, context[left], side="right")
                for shorter in range(order):
                    here = left[orders == shorter]
                    found[here] = self.children(context[here], word[here], shorter)
            suffix[self.offsets[order] : self.offsets[order + 1]] = found
        return suffix


def _sorted_level(level: Level, keys: _Keys) -> Level:
    order = level.words.shape[1]
    contexts = keys.nodes(level.words[:, :-1])
    if (contexts < 0).any():
        raise LanguageModelError(f"{(contexts < 0).sum()} {order}-grams continue none that is listed")
    key = contexts * keys.num_words + level.words[:, -1]
    by_key = np.argsort(key, kind="stable")
    key = key[by_key]
    if (key[1:] == key[:-1]).any():
        raise LanguageModelError(f"some of the {order}-grams are listed twice")
    keys.add(key)
    return Level(level.words[by_key], level.log_probs[by_key], level.backoffs[by_key])
