"""A run in, the steps to come out, each with this rank's batches, whatever becomes of the data workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby, islice

from jasper.data.dataset import Batch
from jasper.errors import TrainingError
from jasper.progress import progress_bar
from jasper.train.log import say
from jasper.train.order import Group, steps_from
from jasper.train.place import Place
from jasper.train.run import Run
from jasper.train.signals import StopRequest
from jasper.train.workers import WorkerDied

Step = tuple[Place, list[Batch]]

_MOST_DEATHS = 3  # of workers before one step, until training ends


def steps_to_come(run: Run, stop: StopRequest) -> Iterator[Step]:
    """Yield this rank's share of the steps from the run's place to its end, their batches read ahead.

    Raises Stopped at once when a signal comes while one rank alone waits; several leave together, at the
    next `count_step`. Raises TrainingError where workers die again and again.
    """
    for epoch, of_epoch in groupby(_awaited(run, stop), key=lambda step: step[0].epoch):
        title = f"epoch {epoch + 1}/{run.config.train.epochs}"
        with progress_bar(title, 1.0) as advance:
            for place, batches in of_epoch:
                yield place, batches
                advance(1 / place.num_groups, f"{title}, loss {run.monitor.loss:.2f}")


def _awaited(run: Run, stop: StopRequest) -> Iterator[Step]:
    steps = _with_new_workers(run)
    while True:
        begin = time.monotonic()
        with stop.wait() if run.ranks.world_size == 1 else nullcontext():
            step = next(steps, None)
        run.monitor.waited(time.monotonic() - begin)
        if step is None:
            return
        yield step


def _with_new_workers(run: Run) -> Iterator[Step]:
    """Where a worker dies all are started again at the run's place, and make the same batches."""
    deaths, step = 0, -1
    while not run.finished:
        try:
            yield from run.backend.load_steps(run.training_set, _from_here(run), run.config.data.num_workers)
            return
        except WorkerDied as death:
            deaths, step = (deaths + 1 if run.step == step else 1), run.step
            if deaths == _MOST_DEATHS:
                raise TrainingError(_give_up(run, death)) from None
            say(f"{death}; the data workers are started again")


def _from_here(run: Run) -> Iterator[tuple[Place, Group]]:
    config, ranks = run.config, run.ranks
    steps = steps_from(run.place, run.selection.utterances, config, ranks.rank, ranks.world_size)
    limit = config.train.max_steps
    return steps if limit is None else islice(steps, limit - run.step)


def _give_up(run: Run, death: WorkerDied) -> str:
    _, awaited = next(_from_here(run))
    ids = ", ".join(utterance.id for batch in awaited for utterance in batch)
    return (
        f"{death}, {_MOST_DEATHS} times before the same step; if memory ran out, lower data.num_workers or "
        f"data.batch_seconds, else look at the recordings that it may have died of: {ids}"
    )
