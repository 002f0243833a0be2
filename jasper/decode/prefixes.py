"""Log-probabilities of one utterance in, its most probable label sequences out: the loops of the beam search.

CTC prefix search (Graves 2012, Hannun et al. 2014): a prefix is a label sequence; each step keeps the
probability of all alignments so far that spell it, apart for those that end in a blank and in its last label.
Prefixes form a tree, so a prefix is one number, and two ways to the same text meet in it.
"""

from __future__ import annotations

import math

from jasper.compiled import compiled, compiled_inside
from jasper.decode.fusion import Float64Array, Fusion, IndexArray, Rule, extend, finish
from jasper.decode.tree import Records, Room, free, grow, join, new_room, recombine
from jasper.types import FloatArray


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
        rank = node.estimate + (entry.next_label if entry.next_label > entry.next_blank else entry.next_blank)
        if rank > best:
            best = rank
        if rank < worst:
            worst = rank
    floor = best - rule.prune
    return worst if free == 0 and worst > floor else floor


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
            ahead = room.ahead[slot, token]
            if ahead.slot >= 0:
                child = beam[ahead.slot]
                child.next_label = log_add(child.next_label, label)
                continue
            if math.isnan(ahead.estimate):
                ahead.estimate = extend(fusion, rule, node.place, node.state, node.hot, node.exact, token)[4]
            rank = label + ahead.estimate
            if rank >= floor and rank > -math.inf:
                candidate = pool[size]
                candidate.slot, candidate.parent, candidate.token = slot, entry.node, token
                candidate.label, candidate.rank = label, rank
                room.ranks[size] = rank
                size += 1
    return size


@compiled_inside
def settle(tree: Records, beam: Records, ranks: Float64Array, size: int) -> int:
    """The next step becomes this one; the prefixes' ranks go behind the `size` there are. The number then."""
    for slot in range(len(beam)):
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
                values[left], values[right] = values[right], values[left]
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
def threshold(ranks: Float64Array, count: int, prune: float, width: int) -> tuple[float, int]:
    """The lowest of `count` ranks that is kept, and how many of exactly that one; they are reordered."""
    best, near = -math.inf, count
    for index in range(count):
        if ranks[index] > best:
            best = ranks[index]
    lowest = best - prune
    for index in range(count - 1, -1, -1):
        if ranks[index] < lowest or ranks[index] == -math.inf:
            near -= 1
            ranks[index] = ranks[near]
    if near <= width:
        return lowest, width
    lowest = kth_largest(ranks, near, width)
    ties = width
    for index in range(near):
        ties -= ranks[index] > lowest
    return lowest, ties


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
        free(room.tree, room.beam, room.ahead, slot)
    return ties


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


@compiled
def run(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, room: Room, nodes: int,
    fusion: Fusion, rule: Rule,
) -> int:  # fmt: skip
    """The steps of `search`, with `nodes` prefixes at first; a prefix's last rank is what is added to it.

    Returns the number of prefixes then. (It comes from outside: numba would compile a loop for the literal 1
    and once more for others.)
    """
    for step in range(log_probs.shape[0]):
        row = log_probs[step]
        floor = stay(row, room.tree, room.beam, rule)
        size = spread(row, tokens[step], num_tokens[step], floor, room, fusion, rule)
        count = settle(room.tree, room.beam, room.ranks, size)
        lowest, ties = threshold(room.ranks, count, rule.prune, rule.beam_width)
        ties = leave(room, lowest, ties)
        nodes = admit(room, size, lowest, ties, nodes, fusion, rule)
        if rule.recombine:
            recombine(room, len(fusion.place_letter) - 1, step)
    for slot in range(len(room.beam)):
        entry = room.beam[slot]
        if entry.node >= 0:
            node = room.tree[entry.node]
            entry.rank = finish(fusion, rule, node.place, node.state, node.hot, node.exact)
    return nodes


@compiled
def retreat(tree: Records, beam: Records, fusion: Fusion, rule: Rule) -> None:
    """Put in place of each prefix the longest of its beginnings that may end, with what is added to it."""
    for slot in range(len(beam)):
        entry = beam[slot]
        while entry.rank == -math.inf and entry.node > 0:
            node = entry.node = tree[entry.node].parent
            entry.rank = finish(
                fusion, rule, tree[node].place, tree[node].state, tree[node].hot, tree[node].exact
            )


def search(
    log_probs: FloatArray, tokens: IndexArray, num_tokens: IndexArray, fusion: Fusion, rule: Rule
) -> tuple[Records, Records]:
    """Search one utterance: the tree (of NODE), and the beam at its end (of SLOT).

    log_probs: (T, V), -inf for the labels that are not tried. tokens: (T, K), the labels tried at each step,
    of which the first num_tokens (T,) count. In the beam `total` is the acoustic score, `rank` the added one.
    """
    steps, classes = log_probs.shape
    room = new_room(steps, classes, tokens.shape[1], rule)
    nodes = run(log_probs, tokens, num_tokens, room, 1, fusion, rule)
    return room.tree[:nodes], room.beam[room.beam.node >= 0]
