"""Batch norm's running statistics after each batch of a step in, one move of them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jasper.train.ranks import Ranks


class NormStatistics:
    """Moves the running statistics once a step, by the mean over its batches on all ranks.

    PyTorch moves them with every batch, so they would depend on how a step is cut into batches and ranks.
    Here each batch begins with the statistics from before the step.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self._running = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self._counters = [buffer for buffer in network.buffers() if not buffer.is_floating_point()]
        self._before: list[Tensor] = []
        self._counted: list[Tensor] = []
        self._moves: list[Tensor] = []  # summed over this rank's batches

    def begin_step(self) -> None:
        """Note the statistics as they are."""
        self._before = [buffer.clone() for buffer in self._running]
        self._counted = [buffer.clone() for buffer in self._counters]
        self._moves = [torch.zeros_like(buffer) for buffer in self._running]

    @contextmanager
    def one_batch(self) -> Iterator[None]:
        """The forward pass of one batch."""
        torch._foreach_copy_(self._running, self._before)
        yield
        torch._foreach_add_(self._moves, torch._foreach_sub(self._running, self._before))

    def finish_step(self, num_batches: int, finite: Tensor) -> None:
        """Move by the mean over the `num_batches` of all ranks, or not at all where `finite` () is false."""
        torch._foreach_copy_(self._running, self._before)
        torch._foreach_copy_(self._counters, self._counted)
        torch._foreach_add_(self._counters, finite.long())
        flat = torch.cat([move.reshape(-1) for move in self._moves])
        mean = torch.where(finite, self.ranks.start_sum(flat).wait() / num_batches, 0.0)
        parts = torch.split(mean, [move.numel() for move in self._moves])
        torch._foreach_add_(self._running, [p.view_as(m) for p, m in zip(parts, self._moves, strict=True)])
