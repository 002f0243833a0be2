"""The batches of one optimizer step in, moved weights out: forward, backward, clip, step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from jasper.data.dataset import Batch
from jasper.train.run import Run


def train_step(run: Run, batches: Sequence[Batch], rate: float) -> tuple[float, float]:
    """Move the weights once by the mean loss over all utterances of `batches`.

    Returns the loss and the norm of the gradient. Where one is not finite, or no utterance can be read,
    nothing moves: the utterances are logged, and more than `max_skipped` such steps in a row end the run
    with a TrainingError.
    """
    learner, monitor, step = run.learner, run.monitor, run.step + 1
    for fault in (fault for batch in batches for fault in batch.faults):
        monitor.report_fault(step, fault)
    batches = [batch for batch in batches if len(batch)]
    num_utterances = sum(len(batch) for batch in batches)
    learner.begin_step(run.step, rate)
    if not num_utterances:
        monitor.report_skip(step, "none of its utterances can be used")
        return math.nan, 0.0
    total = 0.0
    for batch in batches:
        losses = learner.forward(batch)
        torch.autograd.backward(learner.scaler.scale(losses.sum() / num_utterances))
        total += float(losses.detach().sum())
        if not math.isfinite(total):
            learner.undo_step()
            faulty = torch.nonzero(~losses.isfinite()).flatten().tolist()
            monitor.report_skip(step, "the loss is not finite", [batch.ids[row] for row in faulty])
            return total, 0.0
    learner.scaler.unscale_(learner.optimizer)
    clip_norm = run.config.optimizer.clip_norm or math.inf
    norm = nn.utils.clip_grad_norm_(learner.network.parameters(), clip_norm)
    # In fp16 such a gradient is the scaler's to skip: it looks for the largest scale that works.
    if not (norm.isfinite() or learner.scaler.is_enabled()):
        learner.undo_step()
        names = [name for batch in batches for name in batch.ids]
        monitor.report_skip(step, "the gradient is not finite", names)
        return total / num_utterances, float(norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.average.update(learner.network, step)
    monitor.count_step(batches)
    return total / num_utterances, float(norm)
