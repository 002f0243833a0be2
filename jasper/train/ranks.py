"""The environment that torchrun sets in, `Ranks` out: what the processes of a training tell each other.

With `rendezvous.py` the only file that knows `torch.distributed`. One rank alone runs the same code, without
a process group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from jasper.errors import ConfigError
from jasper.nn.device import pick_device
from jasper.train.peers import peers_may_be_gone
from jasper.train.rendezvous import fresh_store

T = TypeVar("T")

# Beside the accelerator's own there is Gloo, for what the hosts agree on without waiting for a device.
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "npu": "cpu:gloo,npu:hccl"}
# Longer than a checkpoint takes to be written, which all but the first rank wait for.
_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Ranks:
    """One of the `world_size` processes of a training; each has a device of its own.

    Every rank must make the same calls in the same order. They raise RankError when another rank has ended
    or does not answer within ten minutes.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes files and talks to the user."""
        return self.rank == 0

    @property
    def features_by_workers(self) -> bool:
        """Whether the data workers compute the features: on a CPU they are faster at it than PyTorch."""
        return self.device.type == "cpu"

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sum numbers of the hosts over all ranks, in double precision: exact for counts."""
        if self.world_size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        return self.start_sum(total).wait().tolist()

    def start_sum(self, tensor: Tensor) -> PendingSum:
        """Begin to replace a tensor, on whatever device, by its sum over all ranks."""
        if self.world_size == 1:
            return PendingSum(tensor, None)
        with peers_may_be_gone():
            return PendingSum(tensor, dist.all_reduce(tensor, async_op=True))

    def gather(self, value: T) -> list[T]:
        """A small value of every rank, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        values: list[T] = [value] * self.world_size
        with peers_may_be_gone():
            dist.all_gather_object(values, value)
        return values

    def from_main(self, value: T) -> T:
        """A small value of rank 0; what the others give is not looked at."""
        if self.world_size == 1:
            return value
        values = [value]
        with peers_may_be_gone():
            dist.broadcast_object_list(values, src=0)
        return values[0]


class PendingSum:
    """A sum over ranks that runs beside what comes next."""

    def __init__(self, tensor: Tensor, work: dist.Work | None) -> None:
        self._tensor = tensor
        self._work = work

    def wait(self) -> Tensor:
        """The sum; on an accelerator what uses it waits for it there, the host goes on."""
        if self._work is not None:
            with peers_may_be_gone():
                self._work.wait()
        return self._tensor


@contextmanager
def start_ranks(device: str, timeout: timedelta = _TIMEOUT) -> Iterator[Ranks]:
    """Join the ranks that torchrun started, each on its own device; without torchrun be the only one.

    `device` is a setting of `train.device`. Raises ConfigError when there is no device for this rank.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(pick_device(device))
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    own = _own_device(device, local_rank)
    with peers_may_be_gone():
        store, *_ = next(rendezvous("env://", timeout=timeout))
        store = fresh_store(store, rank, world_size, timeout)
        dist.init_process_group(
            _BACKENDS[own.type], timeout=timeout, store=store, rank=rank, world_size=world_size
        )
    try:
        yield Ranks(own, rank, world_size)
    except BaseException:
        # The accelerator's backend would wait for the others; the end of the process tells them as well.
        if own.type == "cpu":
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _own_device(name: str, local_rank: int) -> torch.device:
    device = pick_device(name)
    if device.type == "cpu":
        return device
    if device.type not in _BACKENDS:
        raise ConfigError(f"train.device={device.type} cannot be used by several ranks; use cuda, npu or cpu")
    if device.index is not None:
        raise ConfigError(f"train.device={name}: every rank takes a device of its own, so give no number")
    devices = getattr(torch, device.type)
    if local_rank >= devices.device_count():
        raise ConfigError(
            f"there is no {device.type} device for local rank {local_rank}: this machine has "
            f"{devices.device_count()}; start no more ranks (torchrun --nproc-per-node)"
        )
    devices.set_device(local_rank)
    return torch.device(device.type, local_rank)
