"""The training loop, in the order of execution: load, count, step, log, evaluate, save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.progress import progress_bar
from jasper.train.loader import load_steps, steps_from
from jasper.train.monitor import Made
from jasper.train.place import Place
from jasper.train.ranks import start_ranks
from jasper.train.run import Run
from jasper.train.schedule import learning_rate
from jasper.train.signals import StopRequest, stop_request
from jasper.train.step import train_step
from jasper.train.tally import count_step
from jasper.train.validate import DevScore


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where the run is and the best dev score; None without a dev manifest."""

    directory: Path
    step: int
    best: DevScore | None


def train(config: Config, *, resume: bool = True) -> TrainResult:
    """Train, going on from the newest checkpoint in `config.train.out` if `resume`.

    Started by torchrun it is one of several ranks that train one network together. Leaves in
    `config.train.out` `best/` (the lowest dev WER) and `last/`, both model directories, `checkpoints/`,
    `log.jsonl`, `tensorboard/`, `config.yaml` and `refused.jsonl`. Raises ConfigError, ManifestError,
    CheckpointError, TrainingError or RankError; what was saved before stays. The first SIGINT or SIGTERM,
    to whichever rank, writes a checkpoint and raises KeyboardInterrupt on all.
    """
    with start_ranks(config.train.device) as ranks:
        run = Run(config, resume, ranks)
        going_on = f"; going on after step {run.step}" if run.step else ""
        run.monitor.say(run.selection.summary() + going_on)
        with run.log, stop_request() as stop:
            _train(run, stop)
            run.save_model("last")
    return TrainResult(run.directory.path, run.step, run.best)


def _train(run: Run, stop: StopRequest) -> None:
    config, monitor = run.config, run.monitor
    for place, batches in steps_to_come(run):
        tally = count_step(batches, run.ranks, stop.requested)
        if tally.stop:
            run.save()
            run.save_model("last")
            raise KeyboardInterrupt
        monitor.report_faults(run.step + 1, tally.faults)
        rate = learning_rate(place.end, config.train.epochs, config.optimizer, config.schedule)
        outcome = train_step(run.learner, run.ranks, batches, tally, run.step + 1, rate)
        run.advance(place)
        monitor.note(Made(run.step, place, rate, tally, outcome))
        if place.crosses(config.train.eval_epochs) or run.finished:
            report_dev(run, place)
            run.save()
        elif config.train.checkpoint_steps and run.step % config.train.checkpoint_steps == 0:
            run.save()


def steps_to_come(run: Run) -> Iterator[tuple[Place, list[Batch]]]:
    """Yield this rank's share of the steps from the run's place to its end, their batches read ahead."""
    config, ranks = run.config, run.ranks
    if run.finished:
        return
    steps = steps_from(run.place, run.selection.utterances, config, ranks.rank, ranks.world_size)
    if config.train.max_steps is not None:
        steps = islice(steps, config.train.max_steps - run.step)
    loaded = load_steps(run.training_set, steps, config.data.num_workers)
    for epoch, of_epoch in groupby(loaded, key=lambda step: step[0].epoch):
        title = f"epoch {epoch + 1}/{config.train.epochs}"
        with progress_bar(title, 1.0) as advance:
            for place, batches in of_epoch:
                yield place, batches
                advance(1 / place.num_groups, f"{title}, loss {run.monitor.loss:.2f}")


def report_dev(run: Run, place: Place) -> None:
    """Score on dev where there is one, and say how it went."""
    monitor = run.monitor
    monitor.settle()
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
    monitor.say(line)
