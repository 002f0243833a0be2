"""The batches of one optimizer step in, moved weights out: forward, backward, sum, clip, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jasper.data.dataset import Batch
from jasper.nn.device import runs_beside_host
from jasper.train.learner import Learner
from jasper.train.ranks import Ranks
from jasper.train.tally import Tally


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step; its numbers may still be on their way from the device."""

    numbers: Tensor  # loss, norm of the gradient, then the losses of this rank's utterances
    ids: tuple[str, ...] = ()  # of this rank's utterances
    copied: torch.Event | None = None  # None where the numbers are on the host anyway
    scaled: bool = False  # whether a loss scale may have made the gradient infinite

    def read(self) -> tuple[float, float, list[float]]:
        """Loss, norm and losses, as soon as the device has made the step."""
        if self.copied is not None:
            self.copied.synchronize()
        loss, norm, *losses = self.numbers.tolist()
        return loss, norm, losses


def train_step(
    learner: Learner, ranks: Ranks, batches: Sequence[Batch], tally: Tally, step: int, rate: float
) -> Outcome:
    """Make a step, counted from 1: move the weights once by the mean loss over its utterances on all ranks.

    Where the loss or the gradient is not finite, or there is no utterance, nothing moves. The device decides
    that; the host goes on and may read the outcome later.
    """
    if not tally.num_utterances:
        return Outcome(torch.tensor([math.nan, 0.0]))
    learner.begin_step(rate)
    filled = [(index, batch) for index, batch in enumerate(batches) if len(batch)]
    losses = [learner.no_losses()]  # a rank may have no batch
    for count, (index, batch) in enumerate(filled, start=1):
        learner.seed(step, index * ranks.world_size + ranks.rank)
        with learner.statistics.one_batch():
            losses.append(learner.forward(batch))
        if count == len(filled):
            learner.gradients.begin_last_batch()
        torch.autograd.backward(learner.scaler.scale(losses[-1].sum() / tally.num_utterances))
        losses[-1] = losses[-1].detach()
    learner.gradients.finish()
    own = torch.cat(losses)
    loss = ranks.start_sum(own.sum()).wait() / tally.num_utterances
    learner.scaler.unscale_(learner.optimizer)
    norm = _clip(learner.network, learner.config.optimizer.clip_norm)
    finite = loss.isfinite() & norm.isfinite()
    # PyTorch's own name: where it is 1 the optimizer moves nothing, and the host need not know.
    learner.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    learner.optimizer.step()
    learner.scaler.update()
    learner.statistics.finish_step(tally.num_batches, finite)
    learner.average.update(step, finite)
    ids = tuple(name for _, batch in filled for name in batch.ids)
    numbers = torch.cat([torch.stack([loss, norm]), own])
    return _sent_to_host(numbers, ids, learner.scaler.is_enabled())


def _clip(network: nn.Module, limit: float | None) -> Tensor:
    """Hold the norm of the whole gradient at `limit`; returns what it was."""
    norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
    if limit is not None:
        nn.utils.clip_grads_with_norm_(network.parameters(), limit, norm)
    return norm


def _sent_to_host(numbers: Tensor, ids: tuple[str, ...], scaled: bool) -> Outcome:
    device = numbers.device
    if not runs_beside_host(device):
        return Outcome(numbers.cpu(), ids, None, scaled)
    host = numbers.to("cpu", non_blocking=True)
    copied = torch.Event(device)
    copied.record()
    return Outcome(host, ids, copied, scaled)
