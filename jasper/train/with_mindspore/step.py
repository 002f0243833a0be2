"""The batches of one optimizer step in, moved weights out: forward, backward, sum, clip, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Tensor, ops

from jasper.data.dataset import Batch
from jasper.train.tally import Tally
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
    before = [value.copy() for value in learner.statistics]
    total: list[Tensor] = []  # the gradient, and how far the statistics move
    losses: list[float] = []
    filled = [(index, batch) for index, batch in enumerate(batches) if len(batch)]
    for index, batch in filled:
        learner.seed(step, index * ranks.world_size + ranks.rank)
        own, grads = learner.gradient(batch, tally.num_utterances)
        losses += own.asnumpy().tolist()
        part = [*grads, *(new - old for new, old in zip(learner.statistics, before, strict=True))]
        total = [one + other for one, other in zip(total, part, strict=True)] if total else part
        _assign(learner.statistics, before)
    if not total:  # other ranks have utterances
        total = [ops.zeros_like(value) for value in (*learner.parameters, *before)]
    summed = ranks.sum_tensors(total)
    grads = summed[: len(learner.parameters)]
    if learner.scale.enabled:
        grads = [grad / learner.scale.value for grad in grads]
    loss = ranks.sum([sum(losses)])[0] / tally.num_utterances
    squares = ops.stack([(grad * grad).sum() for grad in grads])
    norm = math.sqrt(float(squares.sum()))
    finite = math.isfinite(loss) and math.isfinite(norm)
    if finite:
        limit = learner.config.optimizer.clip_norm
        if limit is not None:
            # PyTorch's formula.
            factor = min(1.0, limit / (norm + 1e-6))
            grads = [grad * factor for grad in grads] if factor < 1 else grads
        learner.optimizer.move(grads, rate)
        means = [move / tally.num_batches for move in summed[len(grads) :]]
        _assign(learner.statistics, [old + mean for old, mean in zip(before, means, strict=True)])
        learner.follow(step)
    learner.scale.update(finite)
    ids = tuple(name for _, batch in filled for name in batch.ids)
    return Outcome(loss, norm, tuple(losses), ids, learner.scale.enabled)


def _assign(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        ops.assign(parameter, value)
