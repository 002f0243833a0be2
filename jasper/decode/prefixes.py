"""Log-probabilities of a batch in, the likeliest text of each row out: the loops of the beam search.

CTC prefix search (Graves 2012, Hannun et al. 2014): a prefix is a label sequence; each step keeps the
probability of all alignments so far that spell it, apart for those that end in a blank and in its last label.
Prefixes form a tree, so a prefix is one number, and two ways to the same text meet in it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jasper.compiled import compiled_in_place, compiled_inside, compiled_into
from jasper.decode.fusion import Float64Array, Fusion, IndexArray, Records, Rule, extend, finish
from jasper.decode.tree import (
    Room,
    Scratch,
    begin,
    free,
    grow,
    join,
    new_room,
    new_scratch,
    recombine,
)
from jasper.types import FloatArray


class Texts(NamedTuple):
    """The best text of each row."""

    tokens: IndexArray  # (B, T)
    num_tokens: IndexArray  # (B,) of them count; -1: no text of the beam may end
    score: Float64Array  # (B,)
    added: Float64Array  # (B,) by a language model, a lexicon and hotwords


class Found(NamedTuple):
    """What a search leaves behind."""

    texts: Texts
    tree: Records  # (N,) of NODE, of the last row
    beam: Records  # of SLOT: `total` is the acoustic score, `rank` the added one
    tried: FloatArray  # (T, V) its log-probabilities, -inf where a label was not tried


def search(log_probs: FloatArray, lengths: IndexArray, fusion: Fusion, rule: Rule) -> Found:
    """Search log_probs (B, T, V), of whose steps lengths (B,) count, one row after the other."""
    rows, steps, classes = log_probs.shape
    room, tried = new_room(steps, classes, rule), np.empty_like(log_probs, shape=(steps, classes))
    texts = Texts(
        np.zeros((rows, steps), np.int64), np.full(rows, -1), np.full(rows, -math.inf), np.zeros(rows)
    )
    nodes = run(log_probs, lengths, tried, room, new_scratch(classes, rule), fusion, rule, texts)
    return Found(texts, room.tree[:nodes], room.beam[room.beam.node >= 0], tried)


@compiled_inside
def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


@compiled_inside
def choose(row: FloatArray, tried: FloatArray, tokens: IndexArray, rule: Rule) -> int:
    """Copy to `tried` what is tried of a row, the likeliest labels and the blank; how many labels that is.

    The blank is always tried: without it a lexicon could leave no way on.
    """
    for token in range(len(row)):
        tried[token] = -math.inf
    size, probability = 0, 0.0
    for _ in range(len(tokens)):
        likeliest, highest = -1, -math.inf
        for token in range(len(row)):
            if row[token] > highest and tried[token] == -math.inf:
                likeliest, highest = token, row[token]
        if likeliest < 0 or probability >= rule.cutoff_prob:
            break
        probability += math.exp(highest)
        tried[likeliest] = highest
        if likeliest != rule.blank:
            tokens[size] = likeliest
            size += 1
    tried[rule.blank] = row[rule.blank]
    return size


@compiled_inside
def stay(row: FloatArray, tree: Records, beam: Records, used: int, rule: Rule) -> float:
    """Each prefix as it is: one more blank, or its last label once more. What a newcomer must rank."""
    best, worst, held = -math.inf, math.inf, 0
    for slot in range(used):
        entry = beam[slot]
        if entry.node < 0:
            continue
        held += 1
        node = tree[entry.node]
        entry.next_blank = entry.total + row[rule.blank]
        entry.next_label = entry.label + row[node.token]
        if node.token == rule.gap:
            entry.next_blank = log_add(entry.next_blank, entry.blank + row[rule.gap])
        rank = node.estimate + (entry.next_label if entry.next_label > entry.next_blank else entry.next_blank)
        if rank > best:
            best = rank
        if rank < worst:
            worst = rank
    floor = best - rule.prune
    return worst if held == rule.beam_width and worst > floor else floor


@compiled_inside
def spread(
    row: FloatArray, num_tokens: int, floor: float, room: Room, used: int, scratch: Scratch,
    fusion: Fusion, rule: Rule,
) -> int:  # fmt: skip
    """Each prefix with each label after it: to the beam where that is kept already, else to the pool."""
    tree, beam, pool, size = room.tree, room.beam, scratch.pool, 0
    for slot in range(used):
        entry = beam[slot]
        if entry.node < 0:
            continue
        node = tree[entry.node]
        for index in range(num_tokens):
            token = scratch.tokens[index]
            if token == rule.gap and token == node.token:
                continue  # it is the same text still: `stay`
            label = row[token] + (entry.blank if token == node.token else entry.total)
            ahead = room.ahead[slot, token]
            if ahead.slot >= 0:
                child = beam[ahead.slot]
                child.next_label = log_add(child.next_label, label)
                continue
            if math.isnan(ahead.estimate):
                extend(fusion, rule, node, token, ahead)
            rank = label + ahead.estimate
            if rank >= floor and rank > -math.inf:
                candidate = pool[size]
                candidate.slot, candidate.parent, candidate.token = slot, entry.node, token
                candidate.label, candidate.rank = label, rank
                scratch.ranks[size] = rank
                size += 1
    return size


@compiled_inside
def settle(tree: Records, beam: Records, used: int, ranks: Float64Array, size: int) -> int:
    """The next step becomes this one; the prefixes' ranks go behind the `size` there are. The number then."""
    for slot in range(used):
        entry = beam[slot]
        if entry.node >= 0:
            entry.blank, entry.label = entry.next_blank, entry.next_label
            entry.total = log_add(entry.blank, entry.label)
            entry.rank = ranks[size] = entry.total + tree[entry.node].estimate
            size += 1
    return size


@compiled_inside
def kth_largest(values: Float64Array, count: int, k: int) -> float:
    """The k-th largest of the first `count` values, k from 1 (Hoare's selection); they are reordered."""
    low, high, wanted = 0, count - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                value = values[left]
                values[left] = values[right]
                values[right] = value
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    kth: float = values[wanted]
    return kth


@compiled_inside
def threshold(ranks: Float64Array, count: int, rule: Rule) -> tuple[float, int]:
    """The lowest of `count` ranks that is kept, and how many of exactly that one; they are reordered."""
    best = -math.inf
    for index in range(count):
        if ranks[index] > best:
            best = ranks[index]
    lowest, ties = best - rule.prune, rule.beam_width
    if count > rule.beam_width:
        last = kth_largest(ranks, count, rule.beam_width)
        if last >= lowest:
            lowest = last
            for index in range(count):
                ties -= ranks[index] > last
    return lowest, ties if lowest > -math.inf else 0


@compiled_inside
def leave(room: Room, used: int, lowest: float, ties: int) -> tuple[int, int]:
    """Free the slots of prefixes that rank too low.

    Returns the slot after the last that is used, and how many more of exactly the lowest rank are kept.
    """
    kept = 0
    for slot in range(used):
        entry = room.beam[slot]
        if entry.node < 0:
            continue
        if entry.rank > lowest or (entry.rank == lowest and ties > 0):
            ties -= entry.rank == lowest
            kept = slot + 1
            continue
        free(room, slot)
    return kept, ties


@compiled_inside
def admit(
    room: Room, pool: Records, used: int, size: int, lowest: float, ties: int, nodes: int
) -> tuple[int, int]:
    """Give free slots to the candidates that rank high enough; `used` and the number of nodes then."""
    admitted, slot = 0, -1
    for index in range(size):
        rank = pool[index].rank
        if rank > lowest or (rank == lowest and ties > 0):
            ties -= rank == lowest
            pool[admitted] = pool[index]
            nodes = grow(room, pool[admitted], nodes)
            admitted += 1
    # Only now: a parent's row is read above, and may be given away here.
    for index in range(admitted):
        slot += 1
        while room.beam[slot].node >= 0:
            slot += 1
        join(room, pool[index], slot)
    return used if slot < used else slot + 1, nodes


@compiled_into
def best_end(tree: Records, beam: Records, used: int, fusion: Fusion, rule: Rule) -> int:
    """Make of a prefix's rank what is added to it as a text; the slot of the best, -1 where none may end."""
    best, highest = -1, -math.inf
    for slot in range(used):
        entry = beam[slot]
        if entry.node >= 0:
            entry.rank = finish(fusion, rule, tree[entry.node])
            if entry.total + entry.rank > highest:
                best, highest = slot, entry.total + entry.rank
    return best


@compiled_into
def spell(tree: Records, node: int, tokens: IndexArray) -> int:
    """Write the labels of a prefix; how many they are."""
    length, above = 0, node
    while tree[above].parent >= 0:
        length, above = length + 1, tree[above].parent
    for place in range(length - 1, -1, -1):
        tokens[place], node = tree[node].token, tree[node].parent
    return length


@compiled_in_place
def run(
    log_probs: FloatArray, lengths: IndexArray, tried: FloatArray, room: Room, scratch: Scratch,
    fusion: Fusion, rule: Rule, texts: Texts,
) -> int:  # fmt: skip
    """Write what `search` finds; the number of prefixes in the tree of the last row."""
    nodes = 0
    for row in range(len(lengths)):
        begin(room, rule.gap)
        used = nodes = np.int64(1)  # for the literal 1 numba would compile its own loops
        for step in range(lengths[row]):
            now = tried[step]
            num_tokens = choose(log_probs[row, step], now, scratch.tokens, rule)
            floor = stay(now, room.tree, room.beam, used, rule)
            size = spread(now, num_tokens, floor, room, used, scratch, fusion, rule)
            count = settle(room.tree, room.beam, used, scratch.ranks, size)
            lowest, ties = threshold(scratch.ranks, count, rule)
            used, ties = leave(room, used, lowest, ties)
            used, nodes = admit(room, scratch.pool, used, size, lowest, ties, nodes)
            if rule.recombine:
                recombine(room, scratch.table, used, len(fusion.place_letters) - 1, step)
        slot = best_end(room.tree, room.beam, used, fusion, rule)
        if slot >= 0:
            best = room.beam[slot]
            texts.num_tokens[row] = spell(room.tree, best.node, texts.tokens[row])
            texts.score[row], texts.added[row] = best.total + best.rank, best.rank
    return nodes


@compiled_in_place
def retreat(tree: Records, beam: Records, fusion: Fusion, rule: Rule) -> None:
    """Put in place of each prefix the longest of its beginnings that may end, with what is added to it."""
    for slot in range(len(beam)):
        entry = beam[slot]
        while entry.rank == -math.inf and entry.node > 0:
            node = entry.node = tree[entry.node].parent
            entry.rank = finish(fusion, rule, tree[node])
