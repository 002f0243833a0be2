"""Utterances and a place in, the utterances of every batch of every step to come out: no audio is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jasper.config import Config
from jasper.data.augment import speed_factors
from jasper.data.batches import Batches, epoch_steps
from jasper.data.join import join_clips
from jasper.data.table import durations_of, ids_of
from jasper.train.place import Place
from jasper.types import Utterance

Group = list[list[Utterance]]


def epoch_order(
    utterances: Sequence[Utterance], config: Config, epoch: int, world_size: int = 1
) -> tuple[Sequence[Utterance], list[Batches]]:
    """The utterances of an epoch, and its steps of batches of indices into them, `accumulation` a rank.

    A pure function of its arguments. Batches are cut by durations as augmentation will leave them.
    """
    seed, count = config.train.seed, config.train.accumulation * world_size
    if config.data.join is not None:
        utterances = join_clips(utterances, config.data.join, seed, epoch)
    durations = durations_of(utterances) / speed_factors(config.augment, seed, epoch, ids_of(utterances))
    return utterances, epoch_steps(durations, config.data, seed, epoch, count)


def steps_from(
    place: Place, utterances: Sequence[Utterance], config: Config, rank: int, world_size: int
) -> Iterator[tuple[Place, Group]]:
    """Yield a rank's share of every step from a place on: of `world_size` batches each in turn is one's.

    Earlier epochs and steps are not gone through, and no audio is touched.
    """
    for epoch in range(place.epoch, config.train.epochs):
        present, steps = epoch_order(utterances, config, epoch, world_size)
        first = place.of(len(steps)) if epoch == place.epoch else 0
        for index in range(first, len(steps)):
            share = steps[index][rank::world_size]
            yield Place(epoch, index, len(steps)), [[present[i] for i in batch] for batch in share]
