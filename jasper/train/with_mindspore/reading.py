"""The utterances of every step in, its batches out, made ahead by threads.

Not by processes: MindSpore has threads of its own, and what is forked from it may hang. Reading, resampling
and the spectra release Python's lock, so threads go on beside training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from jasper.data.dataset import Batch, TrainingSet
from jasper.train.order import Group
from jasper.train.place import Place

_AHEAD = 2  # steps a thread, as many as PyTorch's loader reads ahead

Step = tuple[Place, list[Batch]]


def load_steps(
    training_set: TrainingSet, steps: Iterator[tuple[Place, Group]], num_workers: int
) -> Iterator[Step]:
    """Yield the batches of each step, in order; without workers each is made when it is asked for."""

    def made(place: Place, group: Group) -> Step:
        return place, [training_set.batch(utterances, place.epoch) for utterances in group]

    if not num_workers:
        yield from (made(*step) for step in steps)
        return
    pool = ThreadPoolExecutor(num_workers)
    try:
        coming: deque[Future[Step]] = deque()
        for step in islice(steps, _AHEAD * num_workers):
            coming.append(pool.submit(made, *step))
        while coming:
            yield coming.popleft().result()
            for step in islice(steps, 1):
                coming.append(pool.submit(made, *step))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
