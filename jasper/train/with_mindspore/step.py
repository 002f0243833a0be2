"""The batches of one optimizer step in, moved weights out: forward, backward, sum, clip, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Tensor, ops

from jasper.data.dataset import Batch
from jasper.train.tally import Tally
from jasper.train.with_mindspore import many
from jasper.train.with_mindspore.learner import Learner
from jasper.train.with_mindspore.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    loss: float
    norm: float
    losses: tuple[float, ...] = ()  # of this rank's utterances
    ids: tuple[str, ...] = ()  # of this rank's utterances
    scaled: bool = False  # whether a loss scale may have made the gradient infinite

    def read(self) -> tuple[float, float, list[float]]:
        """Loss, norm and losses."""
        return self.loss, self.norm, list(self.losses)


def train_step(
    learner: Learner, ranks: Ranks, batches: Sequence[Batch], tally: Tally, step: int, rate: float
) -> Outcome:
    """Make a step, counted from 1: move the weights once by the mean loss over its utterances on all ranks.

    Where the loss or the gradient is not finite, or there is no utterance, nothing moves. Running statistics
    move once a step, by the mean over its batches.
    """
    if not tally.num_utterances:
        return Outcome(math.nan, 0.0)
    learner.statistics.begin_step()
    total: list[Tensor] = []  # the gradient, and how far the statistics move
    losses: list[float] = []
    filled = [(index, batch) for index, batch in enumerate(batches) if len(batch)]
    for index, batch in filled:
        learner.seed(step, index * ranks.world_size + ranks.rank)
        own, grads = learner.gradient(batch, tally.num_utterances)
        losses += own.asnumpy().tolist()
        part = [*grads, learner.statistics.take_move()]
        total = [one + other for one, other in zip(total, part, strict=True)] if total else part
    if not total:  # other ranks have utterances
        nothing = [ops.zeros_like(value) for value in learner.parameters]
        total = [*nothing, learner.statistics.take_move()]
    *grads, move = ranks.sum_tensors(total)
    grads = many.scaled(grads, 1 / learner.scale.value)
    loss = ranks.sum([sum(losses)])[0] / tally.num_utterances
    norm = many.norm(grads)
    finite = math.isfinite(loss) and math.isfinite(norm)
    if finite:
        limit = learner.config.optimizer.clip_norm
        if limit is not None:
            grads = many.scaled(grads, min(1.0, limit / (norm + 1e-6)))  # PyTorch's formula
        learner.optimizer.move(grads, rate)
        learner.statistics.finish_step(move / tally.num_batches)
        learner.follow(step)
    learner.scale.update(finite)
    ids = tuple(name for _, batch in filled for name in batch.ids)
    return Outcome(loss, norm, tuple(losses), ids, learner.scale.enabled)
