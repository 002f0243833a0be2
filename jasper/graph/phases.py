"""A convolution in, what stands for it where even and odd steps are apart out: three with half of its taps.

A convolution of two phases, the even steps x0 and the odd ones x1, is four of half the taps. Three of them
are enough (Winograd's F(2, 2); Parker and Parhi 1997 call it fast FIR): e are the taps at even distances, o
those at odd ones, and x2 is x0 from one place later on, x2[m] = x0[m + 1].

    even steps of the output    e * x0 + o * x1 = e * (x0 - x1) + (e + o) * x1
    odd steps of the output     e * x1 + o * x2 = (e + o) * x1 - o * (x1 - x2)
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jasper.config import BlockConfig, NetworkConfig, expand
from jasper.folding import FoldedConvolution
from jasper.types import FloatArray

Trio = tuple[FoldedConvolution, FoldedConvolution, FoldedConvolution]
TRIO = ".trio."  # in the names of the three that stand for one
_PHASE = re.compile(r"(\.trio\.both|(\.trio)?\.(even|odd))(?=\.|$)")


def name_of_whole(name: str) -> str:
    """What a layer or a value of one phase is of where the phases are not apart."""
    return _PHASE.sub("", name)


def first_in_phases(network: NetworkConfig) -> int | None:
    """The block from which on a network can run in phases, behind its last stride; None where it cannot."""
    blocks = expand(network.blocks)
    first = max((index + 1 for index, block in enumerate(blocks) if block.stride > 1), default=0)
    possible = all(_possible(block) for block in blocks[first:])
    return first if possible and any(_worthwhile(block) for block in blocks[first:]) else None


def _possible(block: BlockConfig) -> bool:
    even = block.dilation % 2 == 0 and block.padding[0] % 2 == 0
    return not block.separable and not block.squeeze and (block.dilation == 1 or block.kernel == 1 or even)


def _worthwhile(block: BlockConfig) -> bool:
    return block.kernel > 1 and block.dilation == 1


def of_one_phase(conv: FoldedConvolution) -> FoldedConvolution | None:
    """What each phase runs by itself where no tap is at an odd distance from the output, else None."""
    if conv.weight.shape[2] == 1:
        return replace(conv, dilation=1)
    if conv.dilation % 2:
        return None
    before, after = conv.padding
    return replace(conv, dilation=conv.dilation // 2, padding=(before // 2, after // 2))


def of_two_phases(conv: FoldedConvolution) -> Trio:
    """What runs over x0 - x1, over x1, and over x1 - x2 from the one before x1's first on.

    The first and the second add up to the even steps of the output, the third and the second to the odd ones.
    """
    distances = np.arange(conv.weight.shape[2]) - conv.padding[0]
    odd = distances % 2 == 1
    places = distances // 2  # in the phase that a tap meets
    even_taps, odd_taps = conv.weight[..., ~odd], conv.weight[..., odd]
    low, high = int(places.min()), int(places.max())
    both = _spread(even_taps, places[~odd], low, high) + _spread(odd_taps, places[odd], low, high)
    return (
        _starting(f"{conv.name}{TRIO}even", even_taps, places[~odd], 0),
        replace(_starting(f"{conv.name}{TRIO}both", both, np.arange(low, high + 1), 0), bias=conv.bias),
        _starting(f"{conv.name}{TRIO}odd", -odd_taps, places[odd], -1),
    )


def _starting(name: str, taps: FloatArray, places: NDArray[np.intp], first: int) -> FoldedConvolution:
    """A convolution of an input that begins at the place `first`; where it would be cut, taps are zero."""
    low, high = min(int(places.min()), first), max(int(places.max()), 0)
    return FoldedConvolution(name, _spread(taps, places, low, high), None, padding=(first - low, high))


def _spread(taps: FloatArray, places: NDArray[np.intp], low: int, high: int) -> FloatArray:
    spread = np.zeros((*taps.shape[:2], high - low + 1), dtype=np.float32)
    spread[..., places - low] = taps
    return spread
