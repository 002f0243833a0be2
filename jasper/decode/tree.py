"""The memory of a beam search: the tree of all prefixes, those of them in the beam, and how they come and go.

A prefix keeps its slot of the beam as long as it stays in the beam. What a label after it would be worth is
worked out once, when it is first asked for, and kept in the slot's row of `ahead`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jasper.compiled import compiled_inside, compiled_into
from jasper.decode.fusion import Float64Array, IndexArray, Records, Rule

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
        ("into", np.int64),  # the prefix that it was recombined with, -1 for none
        ("step", np.int64),  # when
        ("loss", np.float64),  # by how much it was less likely
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


# A label after a prefix of the beam, whether it may join or is there already.
AHEAD = np.dtype(
    [
        ("node", np.int64),  # of both, -1 where there never was one
        ("slot", np.int64),  # and its slot, -1 where it has none
        ("place", np.int64),  # these five as a node of both has them
        ("state", np.int64),
        ("hot", np.int64),
        ("exact", np.float64),
        ("estimate", np.float64),  # NaN: not asked for yet
    ]
)


class Room(NamedTuple):
    """The memory of a search; one utterance after the other has it."""

    tree: Records  # (N,) of NODE
    beam: Records  # (beam_width,) of SLOT
    ahead: Records  # (beam_width, V) of AHEAD


class Scratch(NamedTuple):
    """What is only remembered within a step."""

    tokens: IndexArray  # (labels,) that are tried
    pool: Records  # (beam_width * labels,) of CANDIDATE
    ranks: Float64Array  # of the candidates, and after them of the beam
    table: IndexArray  # of `recombine`, a power of two


def new_room(steps: int, classes: int, rule: Rule) -> Room:
    """Memory for utterances of so many steps and outputs."""
    width = rule.beam_width
    tree = np.recarray(steps * width + 1, NODE)
    tree[0] = (-1, rule.blank, -1, -1, 0, 0, rule.start, 0, 0.0, 0.0, -1, 0, 0.0)
    return Room(tree, np.recarray(width, SLOT), np.recarray((width, classes), AHEAD))


def new_scratch(classes: int, rule: Rule) -> Scratch:
    """Memory for a step of so many outputs."""
    width, num_tokens = rule.beam_width, min(rule.cutoff_top_n, classes)
    return Scratch(
        np.empty(num_tokens, np.int64),
        np.recarray(width * num_tokens, CANDIDATE),
        np.empty(width * (num_tokens + 1)),
        np.empty(1 << (2 * width).bit_length(), np.int64),
    )


@compiled_into
def begin(room: Room, gap: int) -> None:
    """Leave nothing but the empty prefix, which is as if `gap` had been said, where there is such a label."""
    for slot in range(len(room.beam)):
        room.beam[slot].node = -1
    root, entry = room.tree[0], room.beam[0]
    root.child, root.slot, root.into = -1, 0, -1
    root.token = max(gap, 0)
    entry.node, entry.blank, entry.label = 0, 0.0, -math.inf
    entry.total = 0.0
    forget(room.ahead[0])


@compiled_into
def forget(row: Records) -> None:
    """Nothing is known of what may follow the prefix of a row (V,) of `ahead`."""
    for token in range(len(row)):
        after = row[token]
        after.node, after.slot, after.estimate = -1, -1, math.nan


@compiled_into
def grow(room: Room, candidate: Records, size: int) -> int:
    """Set the candidate's node, a new one if it never was; the number of nodes then."""
    tree, ahead = room.tree, room.ahead[candidate.slot, candidate.token]
    candidate.node = ahead.node
    if candidate.node >= 0:
        return size
    above, node = tree[candidate.parent], tree[size]
    node.parent, node.token = candidate.parent, candidate.token
    node.child, node.sibling = -1, above.child
    node.place, node.state, node.hot = ahead.place, ahead.state, ahead.hot
    node.exact, node.estimate, node.into = ahead.exact, ahead.estimate, -1
    above.child = candidate.node = ahead.node = size
    return size + 1


@compiled_inside
def free(room: Room, slot: int) -> None:
    """Take a prefix out of the beam."""
    tree, entry = room.tree, room.beam[slot]
    node = tree[entry.node]
    if node.parent >= 0 and tree[node.parent].slot >= 0:
        room.ahead[tree[node.parent].slot, node.token].slot = -1
    node.slot = entry.node = -1


@compiled_into
def join(room: Room, candidate: Records, slot: int) -> None:
    """Give a candidate a free slot."""
    tree, entry, node = room.tree, room.beam[slot], room.tree[candidate.node]
    entry.node, node.slot = candidate.node, slot
    entry.blank, entry.label, entry.total = -math.inf, candidate.label, candidate.label
    forget(room.ahead[slot])
    child = node.child
    while child >= 0:
        below, ahead = tree[child], room.ahead[slot, tree[child].token]
        ahead.node, ahead.slot = child, below.slot
        child = below.sibling
    above = tree[candidate.parent].slot
    if above >= 0:
        room.ahead[above, candidate.token].slot = slot


@compiled_into
def alike(one: Records, other: Records) -> bool:
    """Whether whatever follows is worth the same after two nodes."""
    same_word: bool = one.place == other.place and one.token == other.token
    same_context: bool = one.state == other.state and one.hot == other.hot
    return same_word and same_context


@compiled_inside
def give_way(room: Room, slot: int, kept: int, step: int, loss: float) -> None:
    """Take a prefix out of the beam for one that is alike.

    It may come back with other alignments, and give way again: what is remembered is the first time, as long
    as what it made way for is in the beam, or made way itself.
    """
    tree, into = room.tree, room.beam[kept].node
    node = tree[room.beam[slot].node]
    if node.into < 0 or (tree[node.into].slot < 0 and tree[node.into].into < 0):
        node.into, node.step, node.loss = into, step, loss
    if tree[into].into == room.beam[slot].node:
        tree[into].into = -1
    free(room, slot)


@compiled_inside
def recombine(room: Room, table: IndexArray, used: int, stranger: int, step: int) -> None:
    """Of prefixes that are alike keep the most probable alone (in flashlight and pyctcdecode too).

    `stranger` is the place of unknown words: there the spelling counts, which the place does not tell.
    """
    tree, beam, mask = room.tree, room.beam, len(table) - 1
    for key in range(len(table)):
        table[key] = -1
    for slot in range(used):
        entry = beam[slot]
        if entry.node < 0 or tree[entry.node].place == stranger:
            continue
        node = tree[entry.node]
        key = (node.place * 31 + node.state * 1000003 + node.hot * 8191 + node.token * 131) & mask
        while table[key] >= 0 and not alike(tree[beam[table[key]].node], node):
            key = (key + 1) & mask
        rival = table[key]
        if rival >= 0:
            loss = beam[rival].total + tree[beam[rival].node].exact - entry.total - node.exact
            if loss >= 0.0:
                give_way(room, slot, rival, step, loss)
                continue
            give_way(room, rival, slot, step, -loss)
        table[key] = slot
