"""Utterances of an epoch in, groups of batches (one group a step) out, made by worker processes."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator, Sequence

import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from jasper.config import Config
from jasper.data.batches import epoch_batches
from jasper.data.dataset import Batch, TrainingSet
from jasper.data.join import join_clips
from jasper.types import Utterance

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Group = list[list[Utterance]]


class EpochGroups(Dataset[list[Batch]]):
    """Map-style: index of an optimizer step in the epoch -> its batches."""

    def __init__(self, training_set: TrainingSet, groups: Sequence[Group], epoch: int) -> None:
        self.training_set = training_set
        self.groups = groups
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[Batch]:
        return [self.training_set.batch(utterances, self.epoch) for utterances in self.groups[index]]


def epoch_groups(utterances: Sequence[Utterance], config: Config, epoch: int) -> list[Group]:
    """The steps of an epoch, each `accumulation` batches: a pure function of its arguments."""
    seed, count = config.train.seed, config.train.accumulation
    if config.data.join is not None:
        utterances = join_clips(utterances, config.data.join, seed, epoch)
    batches = epoch_batches([u.duration for u in utterances], config.data, seed, epoch)
    filled = [[utterances[index] for index in batch] for batch in batches]
    return [filled[start : start + count] for start in range(0, len(filled), count)]


def load_groups(
    training_set: TrainingSet, groups: Sequence[Group], epoch: int, num_workers: int
) -> Iterator[list[Batch]]:
    """Yield the batches of each group, in order, read ahead by `num_workers` processes."""
    loader = DataLoader(
        EpochGroups(training_set, groups, epoch),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        # A generator of its own: the loader must not draw from the one that dropout uses.
        generator=torch.Generator(),
    )
    yield from loader


def _as_it_is(batches: list[Batch]) -> list[Batch]:
    return batches


def _start_worker(_: int) -> None:
    # Workers that each use all cores wait for one another, and training for them: 2.2 times as long on two.
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    # Ctrl-C and a scheduler's SIGTERM reach the whole group; the main process ends its workers when the
    # step is done and the checkpoint written.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()


def _die_with_parent() -> None:
    """Have Linux end this process when the main one is killed: waiting to hand over a batch, it stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
