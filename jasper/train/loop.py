"""The training loop, in the order of execution: load, forward, backward, clip, step, log, evaluate, save."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.progress import progress_bar
from jasper.train.loader import epoch_groups, load_groups
from jasper.train.log import say
from jasper.train.place import Place
from jasper.train.run import Run
from jasper.train.schedule import learning_rate
from jasper.train.signals import stop_request
from jasper.train.validate import DevScore


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where the run is and the best dev score; None without a dev manifest."""

    directory: Path
    step: int
    best: DevScore | None


def train(config: Config, *, resume: bool = True) -> TrainResult:
    """Train, going on from the newest checkpoint in `config.train.out` if `resume`.

    Leaves there `best/` (the lowest dev WER) and `last/`, both model directories, `checkpoints/`,
    `log.jsonl`, `tensorboard/`, `config.yaml` and `refused.jsonl`. Raises ConfigError, ManifestError,
    CheckpointError or TrainingError; what was saved before stays. The first SIGINT or SIGTERM writes a
    checkpoint and raises KeyboardInterrupt.
    """
    run = Run(config, resume)
    say(run.selection.summary() + (f"; going on after step {run.step}" if run.step else ""))
    with run.log, stop_request() as stop:
        for place, batches in steps_to_come(run):
            rate = learning_rate(place.end, config.train.epochs, config.optimizer, config.schedule)
            loss, gradient_norm = train_step(run, batches, rate)
            run.advance(place, loss)
            if _due(run.step, config.train.log_steps):
                run.log.row(run.step, epoch=place.end, loss=loss, learning_rate=rate, grad_norm=gradient_norm)
            if place.crosses(config.train.eval_epochs) or run.finished:
                report_dev(run, place)
                run.save()
            elif _due(run.step, config.train.checkpoint_steps):
                run.save()
            if stop.requested:
                run.save()
                run.save_model("last")
                raise KeyboardInterrupt
        run.save_model("last")
    return TrainResult(run.directory, run.step, run.best)


def steps_to_come(run: Run) -> Iterator[tuple[Place, list[Batch]]]:
    """Yield the steps from the run's place to its end, their batches read ahead."""
    config = run.config
    while not run.finished:
        epoch, first = run.epoch, run.group
        groups = epoch_groups(run.selection.utterances, config, epoch)
        if first >= len(groups):  # the checkpoint is of smaller batches, or of more data
            run.epoch, run.group = epoch + 1, 0
            continue
        title = f"epoch {epoch + 1}/{config.train.epochs}"
        with progress_bar(title, len(groups)) as advance:
            advance(first)
            read = load_groups(run.training_set, groups[first:], epoch, config.data.num_workers)
            for group, batches in enumerate(read, start=first):
                yield Place(epoch, group, len(groups)), batches
                advance(1, f"{title}, loss {run.loss:.2f}")
                if run.finished:
                    return


def train_step(run: Run, batches: Sequence[Batch], rate: float) -> tuple[float, float]:
    """Move the weights once by the mean loss over all utterances of `batches`.

    Returns the loss and the norm of the gradient. Where one is not finite, or no utterance can be read,
    nothing moves: the utterances are logged, and more than `max_skipped` such steps in a row end the run
    with a TrainingError.
    """
    config = run.config
    for fault in (fault for batch in batches for fault in batch.faults):
        run.report_fault(fault)
    batches = [batch for batch in batches if len(batch)]
    num_utterances = sum(len(batch) for batch in batches)
    run.begin_step(rate)
    if not num_utterances:
        run.skip_step("none of its utterances can be used")
        return math.nan, 0.0
    total = 0.0
    for batch in batches:
        losses = run.forward(batch)
        torch.autograd.backward(run.scaler.scale(losses.sum() / num_utterances))
        total += float(losses.detach().sum())
        if not math.isfinite(total):
            faulty = torch.nonzero(~losses.isfinite()).flatten().tolist()
            run.skip_step("the loss is not finite", [batch.ids[row] for row in faulty])
            return total, 0.0
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), config.optimizer.clip_norm or math.inf)
    # In fp16 such a gradient is the scaler's to skip: it looks for the largest scale that works.
    if not (norm.isfinite() or run.scaler.is_enabled()):
        run.skip_step("the gradient is not finite", [name for batch in batches for name in batch.ids])
        return total / num_utterances, float(norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.average.update(run.network, run.step + 1)
    run.skipped = 0
    run.count_audio(batches)
    return total / num_utterances, float(norm)


def report_dev(run: Run, place: Place) -> None:
    """Score on dev where there is one, and say how it went."""
    line = f"epoch {place.end:g}, step {run.step}: loss {run.loss:.3f}, {run.speed():.0f} s of audio a second"
    if run.num_faults:
        line += f", {run.num_faults} times an utterance was left out"
    score = run.evaluate()
    run.restart_clock()
    if score is not None:
        line += f"; dev loss {score.loss:.3f}, WER {score.wer:.2%}, CER {score.cer:.2%}"
        if score is run.best:
            line += " (best)"
    say(line)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
