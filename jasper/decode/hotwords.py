"""Hotwords with weights in, an automaton out that pays a weight where its word or phrase is complete.

Aho and Corasick's automaton over labels, as in k2's context graph. A phrase that has begun is expected to
earn its share of the weight; where it breaks off, the expectation is gone: it orders the beam alone.
A phrase counts where it stands between separators or the ends of the utterance: `art` is not in `start`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jasper.errors import TextError
from jasper.text import Tokenizer


@dataclass
class _Node:
    children: dict[int, int] = field(default_factory=dict)
    fail: int = 0
    bonus: float = 0.0
    expected: float = 0.0


@dataclass(frozen=True, eq=False)
class HotwordAutomaton:
    """H states over V outputs; state 0 is where a word begins."""

    next: NDArray[np.int64]  # (H, V)
    bonus: NDArray[np.float64]  # (H,) added on arrival
    expected: NDArray[np.float64]  # (H,) of the phrases that have begun


def hotword_automaton(weights: Mapping[str, float], tokenizer: Tokenizer) -> HotwordAutomaton:
    """The automaton of phrases and what each adds, in nats. Raises TextError for what cannot be spelt."""
    space = [tokenizer.labels.index(" ")] if " " in tokenizer.labels else []
    nodes = [_Node()]
    for phrase, weight in weights.items():
        words = phrase.split()
        if not words:
            raise TextError("a hotword is empty")
        labels = tokenizer.encode(" ".join(words))
        _add(nodes, [*space, *labels, *space], weight)
    order = _link(nodes)
    num_outputs = tokenizer.blank + 1
    following = np.zeros((len(nodes), num_outputs), np.int64)
    for number in order:
        node = nodes[number]
        if number:
            following[number] = following[node.fail]
        for label, child in node.children.items():
            following[number, label] = child
    bonus = np.array([node.bonus for node in nodes])
    expected = np.array([node.expected for node in nodes])
    return _begun(HotwordAutomaton(following, bonus, expected), space)


def _add(nodes: list[_Node], labels: list[int], weight: float) -> None:
    number = 0
    for depth, label in enumerate(labels, start=1):
        if label not in nodes[number].children:
            nodes[number].children[label] = len(nodes)
            nodes.append(_Node())
        number = nodes[number].children[label]
        if depth < len(labels):
            share = weight * (depth - 1) / (len(labels) - 1)
            nodes[number].expected = max(nodes[number].expected, share, key=abs)
    nodes[number].bonus += weight


def _link(nodes: list[_Node]) -> list[int]:
    """Set every node's fail link and let it earn what shorter matches earn; nodes breadth first."""
    order, queue = [0], deque([0])
    while queue:
        number = queue.popleft()
        for label, child in nodes[number].children.items():
            fail = nodes[number].fail
            while fail and label not in nodes[fail].children:
                fail = nodes[fail].fail
            nodes[child].fail = nodes[fail].children.get(label, 0) if number else 0
            shorter = nodes[nodes[child].fail]
            nodes[child].bonus += shorter.bonus
            nodes[child].expected = max(nodes[child].expected, shorter.expected, key=abs)
            order.append(child)
            queue.append(child)
    return order


def _begun(automaton: HotwordAutomaton, space: list[int]) -> HotwordAutomaton:
    """The same automaton with the state after a separator as its first: an utterance begins like a word."""
    begin = int(automaton.next[0, space[0]]) if space else 0
    swap = np.arange(len(automaton.bonus))
    swap[0], swap[begin] = begin, 0
    return HotwordAutomaton(
        swap[automaton.next[swap]].astype(np.int64), automaton.bonus[swap], automaton.expected[swap]
    )
