"""Weights of every step in, their exponential moving average out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from jasper.nn import Jasper


class MovingAverage:
    """A second network whose weights follow the first; it is the one that is scored and kept."""

    def __init__(self, network: Jasper, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        # Made once: to walk through all modules at every step keeps the device waiting.
        self._own, self._theirs = _floating(self.network), _floating(network)

    @torch.no_grad()
    def update(self, step: int, moved: Tensor) -> None:
        """Follow after step `step`, counted from 1, where the truth value `moved` () says that it moved.

        Young averages follow faster, or a short run lags.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [(1 - decay) * moved.to(value.dtype) for value in self._own]
        torch._foreach_lerp_(self._own, self._theirs, weights)


def _floating(network: Jasper) -> list[Tensor]:
    """The weights and statistics themselves, which loading a state moves in place."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]
