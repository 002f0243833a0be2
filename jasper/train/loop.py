"""The training loop, in the order of execution: load, count, step, log, evaluate, save."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jasper.config import Config
from jasper.errors import AudioError, TrainingError
from jasper.train.backend import backend_of
from jasper.train.calibrate import calibrate_best
from jasper.train.feed import steps_to_come
from jasper.train.log import Listener
from jasper.train.monitor import Made
from jasper.train.provenance import recorded
from jasper.train.run import Run
from jasper.train.schedule import learning_rate
from jasper.train.signals import Stopped, StopRequest, stop_request
from jasper.train.tally import count_step
from jasper.train.validate import DevScore


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where the run is and the best dev score; None without a dev manifest."""

    directory: Path
    step: int
    best: DevScore | None


def train(config: Config, *, resume: bool = True, listener: Listener | None = None) -> TrainResult:
    """Train, going on from the newest checkpoint in `config.train.out` if `resume`.

    `listener` is given each row of the log as it is written, after those that a resumed run has already.

    Started by torchrun it is one of several ranks that train one network together. Leaves in
    `config.train.out` `best/` (the lowest dev WER, calibrated on dev at the end) and `last/`, both model
    directories, `checkpoints/`, `log.jsonl`, `tensorboard/`, `config.yaml`, `run.json` and `refused.jsonl`.
    Raises ConfigError, ManifestError, CheckpointError, AudioError, TrainingError or RankError; what was done
    before stays. The first SIGINT, SIGTERM or SIGUSR1, to whichever rank, writes a checkpoint after the step
    at hand, or at once where one rank waits for data or scores on dev, and raises Interrupted on all; a
    second one raises it without.
    """
    with backend_of(config).start_ranks(config.train.device) as ranks:
        run = Run(config, resume, ranks, listener)
        going_on = f"; going on after step {run.step}" if run.step else ""
        run.monitor.say(run.selection.summary() + going_on)
        with run.log, recorded(run), stop_request() as stop:
            try:
                _train(run, stop)
            except Stopped:
                run.save()
                run.save_model("last")
                raise
            except (AudioError, TrainingError):  # raised between two steps: none that is done shall be lost
                run.save()
                raise
            run.save_model("last")
            if ranks.main and config.train.calibrate:
                with stop.wait():
                    calibrate_best(run.config, run.dev, run.monitor.say)
    return TrainResult(run.directory.path, run.step, run.best)


def _train(run: Run, stop: StopRequest) -> None:
    config, monitor = run.config, run.monitor
    if run.dev_due is not None:
        report_dev(run, stop)
        run.save()
    for place, batches in steps_to_come(run, stop):
        tally = count_step(batches, run.ranks, stop.number is not None)
        if tally.stop:
            raise stop.stopped()
        monitor.report_faults(run.step + 1, tally.faults)
        rate = learning_rate(place.end, config.train.epochs, config.optimizer, config.schedule)
        outcome = run.backend.train_step(run.learner, run.ranks, batches, tally, run.step + 1, rate)
        run.advance(place)
        monitor.note(Made(run.step, place, rate, tally, outcome))
        if place.crosses(config.train.eval_epochs) or run.finished:
            run.dev_due = place.end
            report_dev(run, stop)
            run.save()
        elif config.train.checkpoint_steps and run.step % config.train.checkpoint_steps == 0:
            run.save()


def report_dev(run: Run, stop: StopRequest) -> None:
    """Score on dev where there is one, and say how it went."""
    monitor = run.monitor
    monitor.settle()
    line = f"epoch {run.dev_due:g}, step {run.step}: loss {monitor.loss:.3f}, "
    line += f"{monitor.speed():.0f} s of audio a second"
    if monitor.num_faults:
        line += f", {monitor.num_faults} times an utterance was left out"
    score = run.evaluate(stop)
    run.dev_due = None
    monitor.restart_clock()
    if score is not None:
        line += f"; dev loss {score.loss:.3f}, WER {score.wer:.2%}, CER {score.cer:.2%}"
        if score is run.best:
            line += " (best)"
    monitor.say(line)
