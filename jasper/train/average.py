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

    @torch.no_grad()
    def update(self, network: Jasper, step: int, moved: Tensor) -> None:
        """Follow after step `step`, counted from 1, where the truth value `moved` () says that it moved.

        Young averages follow faster, or a short run lags.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        own, theirs = self.network.state_dict(), network.state_dict()
        floating = [name for name, value in own.items() if value.is_floating_point()]
        weights = [(1 - decay) * moved.to(own[name].dtype) for name in floating]
        torch._foreach_lerp_([own[n] for n in floating], [theirs[n] for n in floating], weights)
