"""The tree of a search and its beam at the end in, the N best texts out, those among them that it recombined.

A prefix that was recombined with a likelier one would have gone on as that did: what follows the one, later
than that, may follow the other, at the same distance in score (the N best paths of a lattice).
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np

from jasper.decode.fusion import Records

Tokens = tuple[int, ...]


class Text(NamedTuple):
    """A text that a search found."""

    tokens: Tokens
    frames: Tokens  # where each token begins
    acoustic: float  # log-probability
    added: float  # by a language model, a lexicon and hotwords

    @property
    def score(self) -> float:
        """Of both."""
        return self.acoustic + self.added


def best_texts(
    tree: Records, beam: Records, num_texts: int, align: Callable[[Tokens], Tokens | None]
) -> list[Text]:
    """The texts of the highest scores, best first, each once; fewer where there are no more.

    tree: of NODE. beam: of SLOT, whose `total` is the acoustic score and `rank` the added one; what has an
    added score of -inf is no text. align: when each label of a text begins, None where it does not fit into
    the steps. The acoustic scores are as the search knows them: roughly, for texts that were recombined.
    """
    tree, beam = tree.view(np.ndarray), beam.view(np.ndarray)  # whose fields are read ten times as fast
    token, exact = tree["token"], tree["exact"]
    recombined = links(tree) if num_texts > 1 else {}
    ties = count()
    # The negative score, what is added, the prefix, and what follows it: a text from one of its labels on.
    heap: list[tuple[float, int, float, int, Tokens, int]] = [
        (-(total + added), next(ties), added, node, (), 0)
        for node, total, added in zip(
            *(beam[name].tolist() for name in ("node", "total", "rank")), strict=True
        )
        if math.isfinite(added)
    ]
    heapq.heapify(heap)
    texts: dict[Tokens, Text] = {}
    while heap and len(texts) < num_texts:
        cost, _, added, prefix, followed, begin = heapq.heappop(heap)
        nodes = path_to(tree, prefix)
        tokens = (*token[nodes[1:]].tolist(), *followed[begin:])
        frames = None if tokens in texts else align(tokens)
        if frames is None:
            continue
        texts[tokens] = Text(tokens, frames, float(-cost) - added, added)
        for length, node in enumerate(nodes):
            for other, step, loss in recombined.get(node, ()):
                if length == len(tokens) or step < frames[length]:  # or it came too late for what follows
                    more = added + float(exact[other] - exact[node])
                    heapq.heappush(heap, (cost + loss, next(ties), more, other, tokens, length))
    return list(texts.values())


def links(tree: Records) -> dict[int, list[tuple[int, int, float]]]:
    """For each prefix those that were recombined with it, each with its step and its loss."""
    found: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for node in np.flatnonzero(tree["into"] >= 0):
        entry = tree[node]
        found[int(entry["into"])].append((int(node), int(entry["step"]), float(entry["loss"])))
    return found


def path_to(tree: Records, node: int) -> list[int]:
    """The empty prefix, every other beginning of a prefix, shorter ones first, and itself."""
    parent, nodes = tree["parent"], []
    while node >= 0:
        nodes.append(int(node))
        node = parent[node]
    return nodes[::-1]
