"""Log-probabilities of one utterance in, its most probable label sequences out: the loops of the beam search.

CTC prefix search (Graves 2012, Hannun et al. 2014): a prefix is a label sequence; each step keeps the
probability of all alignments so far that spell it, apart for those that end in a blank and in its last label.
Prefixes form a tree, so a prefix is one number, and two ways to the same text meet in it.

A prefix keeps its slot of the beam as long as it stays in the beam. What a label after it would be worth is
worked out once, when it is first asked for, and kept in the slot's row of `ahead`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from jasper.compiled import compiled, compiled_inside
from jasper.decode.fusion import Float64Array, Fusion, IndexArray, Rule, extend, finish
from jasper.types import FloatArray

Records = Any  # an array of one of the records below: one argument to the compiler where columns are many

# Every prefix that was ever kept; number 0 is the empty one.
NODE = np.dtype(
    [
        ("parent", np.int64),
        ("token", np.int64),  # last label
        ("child", np.int64),  # first of its continuations, -1 for none
        ("sibling", np.int64),  # the next continuation of the same parent
        ("slot", np.int64),  # where in the beam it is, -1 where it is not
        ("place", np.int64),
        ("state", np.int64),  # of the language model, after the complete words
        ("hot", np.int64),
        ("exact", np.float64),
        ("estimate", np.float64),
    ]
)

# A prefix of the beam, with log-probabilities of its alignments so far and one step on.
SLOT = np.dtype(
    [
        ("node", np.int64),  # -1: the slot is free
        ("blank", np.float64),  # of those that end in a blank
        ("label", np.float64),  # of those that end in the last label
        ("total", np.float64),
        ("next_blank", np.float64),
        ("next_label", np.float64),
        ("rank", np.float64),
    ]
)

# What may join the beam: a label after a prefix of it.
CANDIDATE = np.dtype(
    [
        ("slot", np.int64),  # of the prefix
        ("parent", np.int64),  # its node
        ("token", np.int64),
        ("node", np.int64),  # of both, once it is admitted
        ("label", np.float64),
        ("rank", np.float64),
    ]
)


class Room(NamedTuple):
    """The memory of a search."""

    tree: Records  # (N,) of NODE
    beam: Records  # (beam_width,) of SLOT
    pool: Records  # (beam_width * labels,) of CANDIDATE
    ranks: Float64Array  # scratch of as many and beam_width more
    child: IndexArray  # (beam_width, V) the node of a prefix's continuation, -1 where there never was one
    child_slot: IndexArray  # (beam_width, V) and its slot, -1 where it has none
    table: IndexArray  # scratch of `recombine`, a power of two
    ahead: Float64Array  # (beam_width, V) estimate of each continuation; NaN: not asked for yet


@compiled_inside
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


@compiled_inside
def stay(row: FloatArray, tree: Records, beam: Records, rule: Rule) -> float:
    """Each prefix as it is: one more blank, or its last label once more. What a newcomer must rank."""
    best, worst, free = -math.inf, math.inf, 0
    for slot in range(len(beam)):
        entry = beam[slot]
        if entry.node < 0:
            free += 1
            continue
        node = tree[entry.node]
        entry.next_blank = entry.total + row[rule.blank]
        entry.next_label = entry.label + row[node.token]
        rank = max(entry.next_blank, entry.next_label) + node.estimate
        best, worst = max(best, rank), min(worst, rank)
    return max(best - rule.prune, worst if free == 0 else -math.inf)


@compiled_inside
def spread(
    row: FloatArray, tokens: IndexArray, num_tokens: int, floor: float, room: Room, fusion: Fusion, rule: Rule
) -> int:
    """Each prefix with each label after it: to the beam where that is kept already, else to the pool."""
    tree, beam, pool, size = room.tree, room.beam, room.pool, 0
    for slot in range(len(beam)):
        entry = beam[slot]
        if entry.node < 0:
            continue
        node = tree[entry.node]
        for index in range(num_tokens):
            token = tokens[index]
            if token == rule.blank:
                continue
            label = row[token] + (entry.blank if token == node.token else entry.total)
            child = room.child_slot[slot, token]
            if child >= 0:
                beam[child].next_label = log_add(beam[child].next_label, label)
                continue
            estimate = room.ahead[slot, token]
            if math.isnan(estimate):
                estimate = extend(fusion, rule, node.place, node.state, node.hot, node.exact, token)[4]
                room.ahead[slot, token] = estimate
            rank = label + estimate
            if rank >= floor and rank > -math.inf:
                candidate = pool[size]
                candidate.slot, candidate.parent, candidate.token = slot, entry.node, token
                candidate.label, candidate.rank = label, rank
                size += 1
    return size


@compiled_inside
def settle(room: Room) -> None:
    """The next step becomes this one, and each prefix is ranked."""
    for slot in range(len(room.beam)):
        entry = room.beam[slot]
        if entry.node >= 0:
            entry.blank, entry.label = entry.next_blank, entry.next_label
            entry.total = log_add(entry.blank, entry.label)
            entry.rank = entry.total + room.tree[entry.node].estimate


@compiled_inside
def kth_largest(values: Float64Array, k: int) -> float:
    """The k-th largest value, k from 1 (Hoare's selection); they are reordered."""
    low, high, wanted = 0, len(values) - 1, k - 1
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


@compiled_inside
def threshold(room: Room, size: int, rule: Rule) -> tuple[float, int]:
    """The lowest rank that is kept, and how many prefixes of exactly that rank are."""
    ranks, count, best = room.ranks, 0, -math.inf
    for slot in range(len(room.beam)):
        if room.beam[slot].node >= 0:
            ranks[count] = room.beam[slot].rank
            count += 1
    for index in range(size):
        ranks[count] = room.pool[index].rank
        count += 1
    for index in range(count):
        best = max(best, ranks[index])
    lowest, near = best - rule.prune, 0
    for index in range(count):
        if ranks[index] >= lowest and ranks[index] > -math.inf:
            ranks[near] = ranks[index]
            near += 1
    if near <= rule.beam_width:
        return lowest, rule.beam_width
    lowest = kth_largest(ranks[:near], rule.beam_width)
    ties = rule.beam_width
    for index in range(near):
        ties -= ranks[index] > lowest
    return lowest, ties


@compiled_inside
def grow(room: Room, candidate: Records, size: int, fusion: Fusion, rule: Rule) -> int:
    """Set the candidate's node, a new one if it never was; the number of nodes then."""
    tree, token = room.tree, candidate.token
    candidate.node = room.child[candidate.slot, token]
    if candidate.node >= 0:
        return size
    above, node = tree[candidate.parent], tree[size]
    node.parent, node.token, node.child, node.sibling = candidate.parent, token, -1, above.child
    above.child = candidate.node = room.child[candidate.slot, token] = size
    node.place, node.state, node.hot, node.exact, node.estimate = extend(
        fusion, rule, above.place, above.state, above.hot, above.exact, token
    )
    return size + 1


@compiled_inside
def free(room: Room, slot: int) -> None:
    """Take a prefix out of the beam."""
    tree, entry = room.tree, room.beam[slot]
    node = tree[entry.node]
    if node.parent >= 0 and tree[node.parent].slot >= 0:
        room.child_slot[tree[node.parent].slot, node.token] = -1
    node.slot = entry.node = -1


@compiled_inside
def leave(room: Room, lowest: float, ties: int) -> int:
    """Free the slots of prefixes that rank too low; how many more of exactly the lowest rank are kept."""
    for slot in range(len(room.beam)):
        entry = room.beam[slot]
        if entry.node < 0:
            continue
        if entry.rank > lowest or (entry.rank == lowest and ties > 0 and lowest > -math.inf):
            ties -= entry.rank == lowest
            continue
        free(room, slot)
    return ties


@compiled_inside
def join(room: Room, candidate: Records, slot: int) -> None:
    """Give a candidate a free slot."""
    tree, entry, node = room.tree, room.beam[slot], room.tree[candidate.node]
    entry.node, node.slot = candidate.node, slot
    entry.blank, entry.label, entry.total = -math.inf, candidate.label, candidate.label
    room.ahead[slot, :] = math.nan
    room.child[slot, :] = -1
    room.child_slot[slot, :] = -1
    child = node.child
    while child >= 0:
        room.child[slot, tree[child].token] = child
        room.child_slot[slot, tree[child].token] = tree[child].slot
        child = tree[child].sibling
    above = tree[candidate.parent].slot
    if above >= 0:
        room.child_slot[above, candidate.token] = slot


@compiled_inside
def admit(room: Room, size: int, lowest: float, ties: int, nodes: int, fusion: Fusion, rule: Rule) -> int:
    """Give free slots to the candidates that rank high enough; the number of nodes then."""
    pool, admitted, slot = room.pool, 0, 0
    for index in range(size):
        rank = pool[index].rank
        if rank > lowest or (rank == lowest and ties > 0):
            ties -= rank == lowest
            pool[admitted] = pool[index]
            nodes = grow(room, pool[admitted], nodes, fusion, rule)
            admitted += 1
    # Only now: a parent's row is read above, and may be given away here.
    for index in range(admitted):
        while room.beam[slot].node >= 0:
            slot += 1
        join(room, pool[index], slot)
    return nodes


@compiled_inside
def alike(one: Records, other: Records) -> bool:
    """Whether whatever follows is worth the same after two nodes."""
    same_word: bool = one.place == other.place and one.token == other.token
    same_context: bool = one.state == other.state and one.hot == other.hot
    return same_word and same_context


@compiled_inside
def recombine(room: Room, stranger: int) -> None:
    """Of prefixes that are alike keep the most probable alone (in flashlight and pyctcdecode too).

    `stranger` is the place of unknown words: there the spelling counts, which the place does not tell.
    """
    tree, beam, table, mask = room.tree, room.beam, room.table, len(room.table) - 1
    table[:] = -1
    for slot in range(len(beam)):
        entry = beam[slot]
        if entry.node < 0 or tree[entry.node].place == stranger:
            continue
        node = tree[entry.node]
        key = (node.place * 31 + node.state * 1000003 + node.hot * 8191 + node.token * 131) & mask
        while table[key] >= 0 and not alike(tree[beam[table[key]].node], node):
            key = (key + 1) & mask
        rival = table[key]
        if rival >= 0 and beam[rival].total + tree[beam[rival].node].exact >= entry.total + node.exact:
            free(room, slot)
            continue
        if rival >= 0:
            free(room, rival)
        table[key] = slot


@compiled
def run(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, room: Room, nodes: int,
    fusion: Fusion, rule: Rule,
) -> None:  # fmt: skip
    """The steps of `search`, with `nodes` prefixes at first; a prefix's last rank is what is added to it.

    (The number comes from outside: numba would compile a loop for the literal 1 and once more for others.)
    """
    for step in range(log_probs.shape[0]):
        row = log_probs[step]
        floor = stay(row, room.tree, room.beam, rule)
        size = spread(row, tokens[step], num_tokens[step], floor, room, fusion, rule)
        settle(room)
        lowest, ties = threshold(room, size, rule)
        ties = leave(room, lowest, ties)
        nodes = admit(room, size, lowest, ties, nodes, fusion, rule)
        if rule.recombine:
            recombine(room, len(fusion.place_letter) - 1)
    for slot in range(len(room.beam)):
        entry = room.beam[slot]
        if entry.node >= 0:
            node = room.tree[entry.node]
            entry.rank = finish(fusion, rule, node.place, node.state, node.hot, node.exact)


def search(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, fusion: Fusion, rule: Rule
) -> tuple[Records, Records]:
    """Search one utterance: the tree (of NODE), and the beam at its end (of SLOT).

    log_probs: (T, V), -inf for the labels that are not tried. tokens: (T, K), the labels tried at each step,
    of which the first num_tokens (T,) count. In the beam `total` is the acoustic score, `rank` the added one.
    """
    steps, classes = log_probs.shape
    room = new_room(steps, classes, tokens.shape[1], rule)
    run(log_probs, tokens, num_tokens, room, 1, fusion, rule)
    return room.tree, room.beam[room.beam.node >= 0]


def new_room(steps: int, classes: int, num_tokens: int, rule: Rule) -> Room:
    """Memory for so many steps, outputs and labels tried at each step, with the empty prefix in the beam."""
    width = rule.beam_width
    tree = np.recarray(steps * width + 1, NODE)
    beam = np.recarray(width, SLOT)
    beam.node = -1
    tree[0] = (-1, rule.blank, -1, -1, 0, 0, rule.start, 0, 0.0, 0.0)
    beam[0] = (0, 0.0, -math.inf, 0.0, 0.0, 0.0, 0.0)
    return Room(
        tree,
        beam,
        np.recarray(width * num_tokens, CANDIDATE),
        np.empty(width * (num_tokens + 1)),
        np.full((width, classes), -1, np.int64),
        np.full((width, classes), -1, np.int64),
        np.empty(1 << (2 * width).bit_length(), np.int64),
        np.full((width, classes), math.nan),
    )
