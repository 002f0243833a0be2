"""Words in, a trie of their labels out: which words a beginning may become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.errors import LanguageModelError
from jasper.text import Tokenizer

IndexArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """A trie of P places, breadth first; place 0 is its root and the last place is "in an unknown word"."""

    first: IndexArray  # (P + 1,) the children of place i are places first[i] to first[i + 1]
    label: IndexArray  # (P,) the label that leads there, increasing among siblings
    parent: IndexArray  # (P,)
    word: IndexArray  # (P,) index of the word that ends there; -1 where none does

    @property
    def num_places(self) -> int:
        return len(self.label)

    def best_below(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(P,) the highest of the words' scores (N,) at or below each place, -inf where there is no word."""
        best = np.where(self.word >= 0, np.append(scores, 0.0)[self.word], -np.inf)
        # A level's places are neighbours; from the deepest level up each is complete when it is used.
        for begin, end in reversed(self._levels()):
            np.maximum.at(best, self.parent[begin:end], best[begin:end])
        return best

    def _levels(self) -> list[tuple[int, int]]:
        levels, begin, end = [], 1, int(self.first[1])
        while begin < end:
            levels.append((begin, end))
            begin, end = end, int(self.first[end])
        return levels


def spelt_lexicon(words: Sequence[str], tokenizer: Tokenizer) -> Lexicon:
    """The trie of those words that the labels can spell.

    Raises LanguageModelError where they can spell none: the words are of another alphabet or case.
    """
    table = _label_table(words, tokenizer)
    index = np.flatnonzero((table != tokenizer.blank).all(axis=1) & (table[:, 0] >= 0))
    if words and not len(index):
        raise LanguageModelError(
            f"the labels can spell none of the {len(words)} words, such as {words[0]!r}; "
            "they are of another alphabet or case"
        )
    order = np.lexsort(table[index].T[::-1])
    return _trie(table[index[order]], index[order])


def _label_table(words: Sequence[str], tokenizer: Tokenizer) -> IndexArray:
    """(N, longest) labels of each word, -1 beyond its end, the blank for what is no label or the space."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    alphabet = np.array([ord(label) if len(label) == 1 else 0 for label in tokenizer.labels], np.uint32)
    order = np.argsort(alphabet)
    place = np.searchsorted(alphabet, codes, sorter=order).clip(max=len(alphabet) - 1)
    labels = order[place].astype(np.int64)
    labels[(alphabet[labels] != codes) | (codes == ord(" "))] = tokenizer.blank
    table = np.full((len(words), max(1, int(lengths.max(initial=0)))), -1, np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = labels
    return table


def _trie(table: IndexArray, index: NDArray[np.int64]) -> Lexicon:
    """The trie of sorted rows of labels, of which row i spells the word `index[i]`."""
    differs = np.ones(table.shape, bool)
    differs[1:] = np.maximum.accumulate(table[1:] != table[:-1], axis=1)
    begins = differs & (table >= 0)  # where a row is the first to need a place
    numbers = begins.T.reshape(-1).cumsum().reshape(begins.T.shape).T  # of the places, level after level
    num_places = 2 + int(begins.sum())
    label = np.full(num_places, -1, np.int64)
    parent = np.zeros(num_places, np.int64)
    word = np.full(num_places, -1, np.int64)
    before = np.hstack([np.zeros((len(table), 1), numbers.dtype), numbers[:, :-1]])
    label[numbers[begins]] = table[begins]
    parent[numbers[begins]] = before[begins]
    last = (table >= 0).sum(axis=1) - 1
    ends = numbers[np.arange(len(table)), last] if len(table) else np.zeros(0, np.int64)
    word[ends] = index
    first = np.searchsorted(parent[1:-1], np.arange(num_places + 1)) + 1
    return Lexicon(first.astype(np.int64), label, parent, word)
