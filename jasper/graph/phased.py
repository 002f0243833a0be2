"""A folded network in, its operators in a graph out, with a quarter of the multiplications saved.

Behind the last stride all values are two: the even steps and the odd ones, each (B, C, 1, ceil(T / 2)).
"""

from __future__ import annotations

from jasper.folding import FoldedBlock, FoldedConvolution, FoldedNetwork
from jasper.graph.network import NetworkWriter
from jasper.graph.phases import of_one_phase, of_two_phases

Pair = tuple[str, str]  # of the even steps and of the odd ones
PHASES = ("even", "odd")
FAR = 2**31 - 1  # beyond every end
BY_TWO = 3, 2  # the axis of the steps, how many to go on


class PhasedWriter(NetworkWriter):
    """Writes blocks from `first` on in phases (see `phases.py`); of rows that may be padded."""

    def write_phased(
        self, network: FoldedNetwork, first: int, features: str, lengths: str
    ) -> tuple[str, str]:
        """Like `write`; `first` is what `first_in_phases` says."""
        x = self._start(features, lengths)
        inputs = []
        for block in network.blocks[:first]:
            inputs.append(x)
            x, lengths = self._block(block, [inputs[source] for source in block.sources], x, lengths)
        self.masks = self._split(self.mask, self.mask)
        pair = self._split(x, x)
        pairs: dict[int, Pair] = {}
        for index, block in enumerate(network.blocks[first:], first):
            pairs[index] = pair
            pair = self._phased_block(block, [pairs[source] for source in block.sources], pair)
        logits = [self._logits(network.head, x, f"head.{p}") for p, x in zip(PHASES, pair, strict=True)]
        return self._log_softmax(self._interleaved(logits)), lengths

    def _split(self, x: str, name: str) -> Pair:
        graph = self.graph
        # One zero more, which the odd steps of an odd number have at their end.
        longer = self._padded(x, 0, 1, f"{name}.longer")
        axis, two = (graph.integers(number) for number in BY_TWO)
        even = graph.add("Slice", [longer, graph.integers(0), graph.integers(-1), axis, two], f"{name}.even")
        odd = graph.add("Slice", [longer, graph.integers(1), graph.integers(FAR), axis, two], f"{name}.odd")
        return even, odd

    def _interleaved(self, logits: list[str]) -> str:
        graph = self.graph
        side_by_side = graph.add("Concat", logits, "head.phases", axis=2)
        shape = graph.add("Shape", [logits[0]], "head.shape")
        wide = graph.add("Mul", [shape, graph.integers(1, 2, 1)], "head.wide")
        longer = graph.add("Reshape", [side_by_side, wide], "head.longer")
        steps = graph.add("Unsqueeze", [self.steps, graph.integers(0)], "head.all")
        return graph.add("Slice", [longer, graph.integers(0), steps, graph.integers(1)], "head.valid")

    def _phased_block(self, block: FoldedBlock, sources: list[Pair], pair: Pair) -> Pair:
        *first, last = block.sub_blocks
        for (conv,) in first:
            pair = self._activated(self._phased(conv, pair), conv.name)
        pair = self._phased(last[0], pair)
        if block.residual is not None:
            residual = self._residual(block, block.residual, sources)
            pair = self._sums(pair, residual, f"{block.name}.sum")
        return self._activated(pair, block.name)

    def _residual(self, block: FoldedBlock, conv: FoldedConvolution, sources: list[Pair]) -> Pair:
        graph, joined = self.graph, []
        for phase, *xs in zip(PHASES, *sources, strict=True):
            x = graph.add("Concat", xs, f"{block.name}.{phase}.sources", axis=1) if len(xs) > 1 else xs[0]
            joined.append(self._convolution(conv, x, f"{conv.name}.{phase}"))
        return joined[0], joined[1]

    def _phased(self, conv: FoldedConvolution, pair: Pair) -> Pair:
        graph, name = self.graph, conv.name
        x0, x1 = pair
        alone = of_one_phase(conv)
        if alone is not None:
            return self._convolution(alone, x0, f"{name}.even"), self._convolution(alone, x1, f"{name}.odd")
        for_even, for_both, for_odd = of_two_phases(conv)
        now = graph.add("Sub", [x0, x1], f"{name}.now")
        last, following = self._padded(x1, 1, 0, f"{name}.last"), self._padded(x0, 0, 1, f"{name}.next")
        later = graph.add("Sub", [last, following], f"{name}.later")
        own = self._convolution(for_even, now), self._convolution(for_odd, later)
        both = self._convolution(for_both, x1)
        return self._sums(own, (both, both), f"{name}.sum")

    def _sums(self, pair: Pair, other: Pair, name: str) -> Pair:
        (x0, x1), (y0, y1) = pair, other
        return self.graph.add("Add", [x0, y0], f"{name}.even"), self.graph.add("Add", [x1, y1], f"{name}.odd")

    def _activated(self, pair: Pair, name: str) -> Pair:
        activated = []
        for phase, x, mask in zip(PHASES, pair, self.masks, strict=True):
            x = self.graph.add("Relu", [x], f"{name}.{phase}.relu")
            activated.append(self.graph.add("Mul", [x, mask], f"{name}.{phase}.masked"))
        return activated[0], activated[1]

    def _padded(self, x: str, before: int, after: int, name: str) -> str:
        return self.graph.add("Pad", [x, self.graph.integers(0, 0, 0, before, 0, 0, 0, after)], name)
