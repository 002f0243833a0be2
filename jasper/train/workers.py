"""A data loader in, its items out; a worker that dies is an error here, and none outlives the loader."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

T = TypeVar("T")

_JOIN_S = 1.0


class WorkerDied(Exception):
    """A worker process ended before its work did; the message has its process id and how it ended."""


def watched(loader: DataLoader[T]) -> Iterator[T]:
    """Yield the items of a loader; raise WorkerDied as soon as one is awaited while a worker is dead.

    PyTorch raises RuntimeError wherever the main process happens to be, in the middle of a step or of a
    checkpoint. And it cannot be left to find out in its own time: a worker killed while it hands over a
    batch leaves half of it in the pipe, and the read of the other half never ends.
    """
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    watch = _Watch(getattr(iterator, "_workers", []))
    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        signal.signal(signal.SIGCHLD, watch.handle)
    try:
        while True:
            try:
                item = watch.next(iterator)
            except StopIteration:
                return
            yield item
    finally:
        watch.end_workers()
        if in_main:
            signal.signal(signal.SIGCHLD, before)


class _Watch:
    """Looks at worker processes whenever a child ends, but raises only while an item is awaited."""

    def __init__(self, workers: list[BaseProcess]) -> None:
        self.workers = workers
        self._waiting = False

    def next(self, iterator: Iterator[T]) -> T:
        self._waiting = True
        try:
            self._check()
            return next(iterator)
        except RuntimeError:  # PyTorch's, made of WorkerDied or of what it found itself
            self._check()
            raise
        finally:
            self._waiting = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self._waiting:
            self._check()

    def _check(self) -> None:
        for worker in self.workers:
            if worker.exitcode:
                raise WorkerDied(f"data worker {worker.pid} {_ending(worker.exitcode)}")

    def end_workers(self) -> None:
        """End those that are left, one that hangs in a read too: they ignore SIGTERM."""
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.join(_JOIN_S)


def _ending(exitcode: int) -> str:
    if exitcode == -signal.SIGKILL:
        return "was killed by SIGKILL, perhaps because memory ran out"
    if exitcode < 0:
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"ended with code {exitcode}"
