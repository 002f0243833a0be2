"""The environment that msrun sets in, `Ranks` out: what the processes of a training tell each other.

The only file that knows MindSpore's communication: HCCL on Ascend cards, its own (MCCL) on CPUs. One rank
alone runs the same code, without a process group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mindspore import Tensor, communication, ops
from mindspore.mint import distributed

from jasper.mindspore.device import use_device
from jasper.train.peers import peers_may_be_gone

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """One of the `world_size` processes of a training; see `jasper.train.ranks.Ranks`."""

    rank: int = 0
    world_size: int = 1
    features_by_workers = True  # MindSpore has no copy of the front end

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes files and talks to the user."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sum numbers of the hosts over all ranks, in double precision: exact for counts."""
        return [float(sum(column)) for column in zip(*self.gather(list(numbers)), strict=True)]

    def sum_tensors(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Replace float32 tensors by their sums over all ranks, sent as one."""
        if self.world_size == 1:
            return list(tensors)
        with peers_may_be_gone():
            flat = ops.AllReduce()(ops.cat([tensor.reshape(-1) for tensor in tensors]))
        parts = ops.split(flat, [tensor.size for tensor in tensors])
        return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def gather(self, value: T) -> list[T]:
        """A small value of every rank, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        values: list[T] = [value] * self.world_size
        with peers_may_be_gone():
            distributed.all_gather_object(values, value)
        return values

    def from_main(self, value: T) -> T:
        """A small value of rank 0; what the others give is not looked at."""
        return self.gather(value)[0]


def alone(device: str) -> Ranks:
    """The ranks of a process that trains alone."""
    use_device(device)
    return Ranks()


@contextmanager
def start_ranks(device: str) -> Iterator[Ranks]:
    """Join the ranks that msrun started, each on its own device; without msrun be the only one."""
    use_device(device)
    if int(os.environ.get("MS_WORKER_NUM", "1")) == 1:
        yield Ranks()
        return
    with peers_may_be_gone():
        communication.init()
    yield Ranks(communication.get_rank(), communication.get_group_size())
