"""Log-probabilities of one utterance in, its most probable label sequences out: the loops of the beam search.

CTC prefix search (Graves 2012, Hannun et al. 2014): a prefix is a label sequence; each step keeps the
probability of all alignments so far that spell it, apart for those that end in a blank and in its last label.
Prefixes form a tree, so a prefix is one number, and two ways to the same text meet in it. What a language
model, a lexicon and hotwords add is `exact` for the words that are complete and `estimate` with what the
unfinished word may be expected to add (in flashlight: smearing); the estimate orders the beam alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jasper.compiled import compiled
from jasper.lm.ngram import UNKNOWN, NodeTable, advance
from jasper.types import FloatArray

IndexArray = NDArray[np.int64]  # of one kind everywhere, or numba compiles a loop for each
Float64Array = NDArray[np.float64]


class Fusion(NamedTuple):
    """Tables that score texts. A place is a node of the lexicon's trie; 0 is between two words."""

    ngram: NodeTable
    token_word: IndexArray  # (V,) the language model's word for each label, where it predicts labels
    place_first: IndexArray  # (P + 1,) the children of place i are places first[i] to first[i + 1]
    place_label: IndexArray  # (P,) the label that leads to a place; the last place is "in an unknown word"
    place_word: IndexArray  # (P,) the language model's word that ends here; -1 where none does
    place_expected: Float64Array  # (P,) score that the best word through here may be expected to add
    hot_next: IndexArray  # (H, V) automaton of the hotwords
    hot_bonus: Float64Array  # (H,) added on arrival
    hot_expected: Float64Array  # (H,) expected of the hotword that has begun


class Rule(NamedTuple):
    """Numbers of the search; scores are natural logarithms."""

    beam_width: int
    prune: float  # prefixes this much below the best are dropped
    alpha: float  # weight of the language model
    beta: float  # added for each unit that the language model predicts
    unknown: float  # added for each word that is not in the lexicon
    blank: int
    separator: int  # the label between words; -1 where there is none
    by_token: bool  # the language model predicts labels, not words
    start: int  # state of the language model before the first word
    end: int  # its word for the end of the sentence


class Tree(NamedTuple):
    """Every prefix that was ever kept; number 0 is the empty one. `new_tree` makes the arrays."""

    parent: IndexArray
    token: IndexArray  # last label
    child: IndexArray  # first of its continuations, -1 for none
    sibling: IndexArray  # the next continuation of the same parent
    slot: IndexArray  # where in the beam it is, -1 where it is not
    place: IndexArray
    state: IndexArray  # of the language model, after the complete words
    hot: IndexArray
    exact: Float64Array
    estimate: Float64Array


class Beam(NamedTuple):
    """The prefixes kept at one step, with log-probabilities of their alignments up to there."""

    node: IndexArray
    blank: Float64Array  # of those that end in a blank
    label: Float64Array  # of those that end in the last label


class Pool(NamedTuple):
    """What may come next: the prefixes kept, then their continuations that are not among them."""

    slot: IndexArray  # of the prefix that is continued
    token: IndexArray
    label: Float64Array
    rank: Float64Array


@compiled
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


@compiled
def descend(fusion: Fusion, place: int, token: int) -> int:
    """The place that a label leads to; the last place where no word goes on like that."""
    low, high = fusion.place_first[place], fusion.place_first[place + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if fusion.place_label[middle] < token:
            low = middle + 1
        else:
            high = middle
    if low < end and fusion.place_label[low] == token:
        return int(low)
    return len(fusion.place_label) - 1


@compiled
def close_word(fusion: Fusion, rule: Rule, place: int, state: int) -> tuple[float, int]:
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


@compiled
def extend(
    fusion: Fusion, rule: Rule, place: int, state: int, hot: int, exact: float, token: int
) -> tuple[int, int, int, float, float]:
    """Place, state, hot, exact and estimate of a prefix that one more label continues."""
    if rule.by_token:
        score, state = advance(fusion.ngram, state, fusion.token_word[token])
        exact += rule.alpha * score + rule.beta
    if token != rule.separator:
        place = descend(fusion, place, token)
        hot = fusion.hot_next[hot, token]
        exact += fusion.hot_bonus[hot]
    elif place != 0:
        added, state = close_word(fusion, rule, place, state)
        place = 0
        hot = fusion.hot_next[hot, token]
        exact += added + fusion.hot_bonus[hot]
    return place, state, hot, exact, exact + fusion.place_expected[place] + fusion.hot_expected[hot]


@compiled
def finish(fusion: Fusion, rule: Rule, tree: Tree, node: int) -> float:
    """What a language model, a lexicon and hotwords add to a text that ends here."""
    place, state, exact = tree.place[node], tree.state[node], tree.exact[node]
    if place != 0:
        added, state = close_word(fusion, rule, place, state)
        exact += added
        if rule.separator >= 0:
            exact += fusion.hot_bonus[fusion.hot_next[tree.hot[node], rule.separator]]
    score, _ = advance(fusion.ngram, state, rule.end)
    return float(exact + rule.alpha * score)


@compiled
def kth_largest(values: Float64Array, size: int, k: int) -> float:
    """The k-th largest of the first `size` values, k from 1 (Hoare's selection); they are reordered."""
    low, high, wanted = 0, size - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return float(values[wanted])


@compiled
def grow(tree: Tree, size: int, parent: int, token: int, fusion: Fusion, rule: Rule) -> tuple[int, int]:
    """The prefix that a label makes of its parent, new if it never was, and the number of prefixes then."""
    node = tree.child[parent]
    while node >= 0:
        if tree.token[node] == token:
            return node, size
        node = tree.sibling[node]
    node = size
    tree.parent[node] = parent
    tree.token[node] = token
    tree.child[node] = -1
    tree.sibling[node] = tree.child[parent]
    tree.child[parent] = node
    place, state, hot, exact, estimate = extend(
        fusion, rule, tree.place[parent], tree.state[parent], tree.hot[parent], tree.exact[parent], token
    )
    tree.place[node] = place
    tree.state[node] = state
    tree.hot[node] = hot
    tree.exact[node] = exact
    tree.estimate[node] = estimate
    return node, size + 1


@compiled
def stay(row: FloatArray, beam: Beam, count: int, tree: Tree, rule: Rule, following: Beam) -> None:
    """Each prefix as it is: one more blank, or its last label once more."""
    for slot in range(count):
        node = beam.node[slot]
        following.node[slot] = node
        following.blank[slot] = log_add(beam.blank[slot], beam.label[slot]) + row[rule.blank]
        following.label[slot] = beam.label[slot] + row[tree.token[node]]


@compiled
def spread(
    row: FloatArray, tokens: IndexArray, num_tokens: int, beam: Beam, count: int, following: Beam,
    pool: Pool, child_slot: IndexArray, tree: Tree, fusion: Fusion, rule: Rule,
) -> int:  # fmt: skip
    """Each prefix with each label after it: to the beam where that is kept already, else to the pool."""
    size = count
    for slot in range(count):
        node = beam.node[slot]
        total = log_add(beam.blank[slot], beam.label[slot])
        place, state, hot, exact = tree.place[node], tree.state[node], tree.hot[node], tree.exact[node]
        for place_of_token in range(num_tokens):
            token = tokens[place_of_token]
            if token == rule.blank:
                continue
            label = row[token] + (beam.blank[slot] if token == tree.token[node] else total)
            child = child_slot[slot, token]
            if child >= 0:
                following.label[child] = log_add(following.label[child], label)
                continue
            _, _, _, _, estimate = extend(fusion, rule, place, state, hot, exact, token)
            rank = label + estimate
            if rank > -math.inf:
                pool.slot[size] = slot
                pool.token[size] = token
                pool.label[size] = label
                pool.rank[size] = rank
                size += 1
    return size


@compiled
def threshold(ranks: Float64Array, size: int, scratch: Float64Array, rule: Rule) -> tuple[float, int]:
    """The lowest of the first `size` ranks that is kept, and how many prefixes of exactly that rank are."""
    best = -math.inf
    for entry in range(size):
        best = max(best, ranks[entry])
    lowest = best - rule.prune
    below = size
    for entry in range(size):
        if ranks[entry] >= lowest and ranks[entry] > -math.inf:
            scratch[size - below] = ranks[entry]
            below -= 1
    if size - below <= rule.beam_width:
        return lowest, rule.beam_width
    lowest = kth_largest(scratch, size - below, rule.beam_width)
    ties = rule.beam_width
    for entry in range(size):
        ties -= ranks[entry] > lowest
    return lowest, ties


@compiled
def link_children(beam: Beam, count: int, tree: Tree, child_slot: IndexArray) -> None:
    """Write which prefixes of the beam continue another into the table (slot, label) -> slot."""
    for slot in range(count):
        child_slot[slot, :] = -1
    for slot in range(count):
        node = beam.node[slot]
        if node > 0 and tree.slot[tree.parent[node]] >= 0:
            child_slot[tree.slot[tree.parent[node]], tree.token[node]] = slot


@compiled
def keep(
    pool: Pool, size: int, count: int, lowest: float, ties: int, following: Beam, beam: Beam,
    tree: Tree, nodes: int, fusion: Fusion, rule: Rule,
) -> tuple[int, int]:  # fmt: skip
    """Fill `beam` with what ranks high enough; the numbers of prefixes in it and in the tree."""
    kept = 0
    parents = following.node
    for slot in range(count):
        tree.slot[parents[slot]] = -1
    for entry in range(size):
        rank = pool.rank[entry]
        if rank < lowest or rank == -math.inf or (rank == lowest and ties == 0):
            continue
        ties -= rank == lowest
        if entry < count:
            beam.node[kept] = parents[entry]
            beam.blank[kept] = following.blank[entry]
            beam.label[kept] = following.label[entry]
        else:
            node, nodes = grow(tree, nodes, parents[pool.slot[entry]], pool.token[entry], fusion, rule)
            beam.node[kept] = node
            beam.blank[kept] = -math.inf
            beam.label[kept] = pool.label[entry]
        kept += 1
    for slot in range(kept):
        tree.slot[beam.node[slot]] = slot
    return kept, nodes


@compiled
def run(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, fusion: Fusion, rule: Rule,
    tree: Tree, beam: Beam, following: Beam, pool: Pool, scratch: Float64Array, child_slot: IndexArray,
    count: int, nodes: int,
) -> int:  # fmt: skip
    """The steps of `search`, from `count` prefixes in `beam` on; it has as many at the end as returned.

    (The numbers come from outside: numba would compile each loop for the literal 1 and once more for others.)
    """
    for step in range(log_probs.shape[0]):
        if count == 0:  # every way on had the probability 0
            break
        row = log_probs[step]
        stay(row, beam, count, tree, rule, following)
        link_children(beam, count, tree, child_slot)
        size = spread(
            row, tokens[step], num_tokens[step], beam, count, following, pool, child_slot, tree, fusion, rule
        )
        for slot in range(count):
            total = log_add(following.blank[slot], following.label[slot])
            pool.rank[slot] = total + tree.estimate[following.node[slot]]
        lowest, ties = threshold(pool.rank, size, scratch, rule)
        count, nodes = keep(pool, size, count, lowest, ties, following, beam, tree, nodes, fusion, rule)
    for slot in range(count):
        pool.label[slot] = log_add(beam.blank[slot], beam.label[slot])
        pool.rank[slot] = finish(fusion, rule, tree, beam.node[slot])
    return count


def search(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, fusion: Fusion, rule: Rule
) -> tuple[Tree, IndexArray, Float64Array, Float64Array]:
    """Search one utterance: the tree, the prefixes left at its end, their acoustic and their added scores.

    log_probs: (T, V), -inf for the labels that are not tried. tokens: (T, K), the labels tried at each step,
    of which the first num_tokens (T,) count.
    """
    steps, classes = log_probs.shape
    width = rule.beam_width
    room = width * (tokens.shape[1] + 1)
    tree = new_tree(steps * width + 1, rule)
    beam, following = new_beam(width), new_beam(width)
    beam.node[0], beam.blank[0], beam.label[0] = 0, 0.0, -math.inf
    pool = Pool(np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room), np.empty(room))
    child_slot = np.empty((width, classes), np.int64)
    count = run(
        log_probs, tokens, num_tokens, fusion, rule,
        tree, beam, following, pool, np.empty(room), child_slot, 1, 1,
    )  # fmt: skip
    return tree, beam.node[:count], pool.label[:count], pool.rank[:count]


def new_tree(size: int, rule: Rule) -> Tree:
    """A tree of the empty prefix, with room for `size`."""
    parent, token, child, sibling, slot, place, state, hot = (np.empty(size, np.int64) for _ in range(8))
    exact, estimate = np.empty(size), np.empty(size)
    tree = Tree(parent, token, child, sibling, slot, place, state, hot, exact, estimate)
    for array in tree:
        array[0] = 0
    tree.parent[0] = tree.child[0] = tree.sibling[0] = -1
    tree.token[0], tree.state[0] = rule.blank, rule.start
    return tree


def new_beam(width: int) -> Beam:
    """Room for so many prefixes."""
    return Beam(np.empty(width, np.int64), np.empty(width), np.empty(width))
