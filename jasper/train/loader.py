"""The utterances of every step in, its batches out, made ahead by worker processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from jasper.data.dataset import Batch, TrainingSet
from jasper.train.order import Group
from jasper.train.place import Place
from jasper.train.signals import STOP_SIGNALS
from jasper.train.workers import watched

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _Steps(Dataset[tuple[Place, list[Batch]]]):
    """A step's place and utterances -> its place and batches. Workers are sent what they need, no more."""

    def __init__(self, training_set: TrainingSet) -> None:
        self.training_set = training_set

    def __getitem__(self, step: tuple[Place, Group]) -> tuple[Place, list[Batch]]:
        place, group = step
        return place, [self.training_set.batch(utterances, place.epoch) for utterances in group]


def load_steps(
    training_set: TrainingSet, steps: Iterator[tuple[Place, Group]], num_workers: int
) -> Iterator[tuple[Place, list[Batch]]]:
    """Yield the batches of each step, in order, read ahead by `num_workers` processes across epochs.

    Raises WorkerDied.
    """
    loader = DataLoader(
        _Steps(training_set),
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        # A generator of its own: the loader must not draw from the one that dropout uses.
        generator=torch.Generator(),
    )
    yield from watched(loader)


def _as_it_is(step: Any) -> Any:
    return step


def _start_worker(_: int) -> None:
    # Workers that each use all cores wait for one another, and training for them: 2.2 times as long on two.
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    # Ctrl-C and a scheduler's SIGTERM reach the whole group; the main process ends its workers when the
    # step is done and the checkpoint written.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()


def _die_with_parent() -> None:
    """Have Linux end this process when the main one is killed: waiting to hand over a batch, it stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    main = multiprocessing.parent_process()
    if main is not None and main.pid != os.getppid():  # killed before it could be tied to
        os._exit(1)
