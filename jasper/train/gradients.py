"""Gradients of one rank in, their sums over all ranks out, sent while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from jasper.train.ranks import PendingSum, Ranks

_BUCKET_BYTES = 25 * 2**20  # as in PyTorch's own DistributedDataParallel


class GradientSums:
    """Sums the gradients of a step over ranks; with one rank there is nothing to do.

    Buckets are sent in the same order on every rank, the last layers' first, as their gradients come first.
    A rank whose share of a step is empty takes part with zeros.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
        self.ranks = ranks
        learnt = [parameter for parameter in parameters if parameter.requires_grad]
        self._buckets = _cut_buckets(learnt[::-1]) if ranks.world_size > 1 else []
        self._bucket_of: dict[Tensor, int] = {
            p: index for index, bucket in enumerate(self._buckets) for p in bucket
        }
        for parameter in self._bucket_of:
            parameter.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]
        self._last_batch = False
        self._missing: list[int] = []  # gradients that are not there yet, of each bucket
        self._sent: list[PendingSum] = []

    def begin_last_batch(self) -> None:
        """From now on gradients are whole as they come, so a full bucket is sent at once."""
        self._last_batch = True
        self._missing = [len(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """Send what is left and put the sums in place of the gradients."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for bucket, pending in zip(self._buckets, self._sent, strict=True):
            parts = torch.split(pending.wait(), [p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        self._sent, self._last_batch = [], False

    def _note(self, parameter: Tensor) -> None:
        if not self._last_batch:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        self._sent.append(self.ranks.start_sum(torch.cat([grad.reshape(-1) for grad in grads])))


def _cut_buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    size = _BUCKET_BYTES
    for parameter in parameters:
        if size >= _BUCKET_BYTES:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.nbytes
    return buckets
