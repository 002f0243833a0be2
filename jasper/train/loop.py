"""The training loop, in the order of execution: load, step, log, evaluate, save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.progress import progress_bar
from jasper.train.loader import epoch_groups, load_groups
from jasper.train.log import say
from jasper.train.place import Place
from jasper.train.run import Run
from jasper.train.schedule import learning_rate
from jasper.train.signals import stop_request
from jasper.train.step import train_step
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
            run.advance(place)
            run.monitor.loss = loss
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
    return TrainResult(run.directory.path, run.step, run.best)


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
                advance(1, f"{title}, loss {run.monitor.loss:.2f}")
                if run.finished:
                    return


def report_dev(run: Run, place: Place) -> None:
    """Score on dev where there is one, and say how it went."""
    monitor = run.monitor
    line = f"epoch {place.end:g}, step {run.step}: loss {monitor.loss:.3f}, "
    line += f"{monitor.speed():.0f} s of audio a second"
    if monitor.num_faults:
        line += f", {monitor.num_faults} times an utterance was left out"
    score = run.evaluate()
    monitor.restart_clock()
    if score is not None:
        line += f"; dev loss {score.loss:.3f}, WER {score.wer:.2%}, CER {score.cer:.2%}"
        if score is run.best:
            line += " (best)"
    say(line)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
