"""A configuration in, a `Run` out: data, learner, files and place of one training, fresh or restored."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from jasper.config import Config
from jasper.data.dataset import TrainingSet
from jasper.data.selection import Selection, check_files, read_dev, read_training, with_labels
from jasper.errors import ConfigError
from jasper.train.backend import Backend, Learner, backend_of
from jasper.train.checkpoint import State, load_checkpoint, read_checkpoint, save_checkpoint
from jasper.train.directory import RunDirectory
from jasper.train.log import Listener, RunLog, SilentLog, say
from jasper.train.monitor import Monitor
from jasper.train.place import Place
from jasper.train.signals import StopRequest
from jasper.train.validate import DevScore, validate

if TYPE_CHECKING:
    from jasper.train.ranks import Ranks


class Run:
    """Everything that a training holds. What changes from step to step is in `state()` and nowhere else.

    Of several ranks the first alone writes files; the others know the same and go the same way.
    """

    def __init__(
        self, config: Config, resume: bool, ranks: Ranks | None = None, listener: Listener | None = None
    ) -> None:
        """`ranks`: those that train together; without them this process trains alone.

        `listener` is given the rows of the log.
        """
        self.backend: Backend = backend_of(config)
        if config.train.threads:
            self.backend.use_threads(config.train.threads)
        self.config = config = with_labels(config)
        self.ranks: Ranks = ranks or self.backend.alone(config.train.device)
        ranks = self.ranks
        self.selection = read_training(config)
        if not self.selection.utterances:
            raise ConfigError(f"data.train: nothing to train on ({self.selection.summary()})")
        _check_same(self.selection, ranks)
        self.dev = read_dev(config)
        check_files(self.dev)
        self.training_set = TrainingSet(config, with_features=ranks.features_by_workers)
        self.directory = RunDirectory(config.train.out)
        restored = self._newest_state() if resume else None
        self.learner: Learner = self.backend.make_learner(config, ranks, restored is None)
        self.step = 0  # optimizer steps in all
        self.place = Place(0, 0, 1)  # the next step, in the order of training
        self.dev_due: float | None = None  # progress in epochs at which a score on dev is still to be made
        self.best: DevScore | None = None
        self._saved: tuple[int, float | None] | None = None  # (step, dev_due) of the newest checkpoint
        if restored is not None:
            self.restore(restored)
        if ranks.main:
            self.directory.prepare(config, self.selection, resume)
        dev_due = self.dev_due is not None
        path = self.directory.path
        self.log = RunLog(path, self.step, dev_due, listener) if ranks.main else SilentLog()
        self.monitor = Monitor(config, ranks, self.log)
        if self.learner.start is not None:
            self.monitor.report_start(self.learner.start)

    @property
    def finished(self) -> bool:
        """Whether the last epoch or `max_steps` is reached."""
        limit = self.config.train.max_steps
        return self.place.epoch >= self.config.train.epochs or (limit is not None and self.step >= limit)

    def advance(self, place: Place) -> None:
        """Count a step."""
        self.step += 1
        self.place = place.next()

    def evaluate(self, stop: StopRequest) -> DevScore | None:
        """Score the averaged network on dev, log it, keep it in `best/` if its WER is the lowest so far.

        Raises Stopped, with nothing written, if a signal comes while it scores.
        """
        if not self.dev:
            return None
        score = validate(self.config, self.learner.average_engine(), self.dev, self.ranks, stop)
        epoch = self.place.epoch
        self.log.row(self.step, epoch=epoch, dev_loss=score.loss, dev_wer=score.wer, dev_cer=score.cer)
        for sample in score.samples:
            self.log.row(self.step, id=sample.id, reference=sample.reference, hypothesis=sample.hypothesis)
        if score.better_than(self.best):
            self.best = score
            self.save_model("best")
        return score

    def save_model(self, name: str) -> None:
        """Write the averaged network as a model directory of the run."""
        if self.ranks.main:
            self.directory.save_model(name, self.config.model, self.learner.average_weights())

    def save(self) -> None:
        """Write a checkpoint, unless it is there already or steps are being skipped.

        A checkpoint of skipped steps would push out those that are good.
        """
        self.monitor.settle()
        place = (self.step, self.dev_due)
        if self.ranks.main and not self.monitor.skipped and place != self._saved:
            ending, keep = self.backend.CHECKPOINT_ENDING, self.config.train.keep
            save_checkpoint(self.directory.checkpoints, self.state(), self.step, keep, ending)
            self._saved = place

    def state(self) -> State:
        """All that `restore` needs for the next step to be the one that would have come."""
        return {
            **asdict(self.place),
            "dev_due": self.dev_due,
            "best": None if self.best is None else [self.best.loss, self.best.wer, self.best.cer],
            **self.learner.state(),
        }

    def restore(self, state: State) -> None:
        """Go on where a checkpoint was written."""
        self.learner.restore(state)
        self.step, self.dev_due = state["step"], state["dev_due"]
        self.place = Place(state["epoch"], state["group"], state["num_groups"])
        self.best = None if state["best"] is None else DevScore(*state["best"])

    def _newest_state(self) -> State | None:
        """What the first rank finds to be the newest whole checkpoint, read by every rank."""
        ending = self.backend.CHECKPOINT_ENDING
        state = load_checkpoint(self.directory.checkpoints, say, ending) if self.ranks.main else None
        step = self.ranks.from_main(None if state is None else state["step"])
        if step is None or self.ranks.main:
            return state
        return read_checkpoint(self.directory.checkpoints, step, ending)


def _check_same(selection: Selection, ranks: Ranks) -> None:
    """Raise ConfigError, on every rank, if one has read other utterances than the first."""
    hours = sum(utterance.duration for utterance in selection.utterances) / 3600
    read = ranks.gather((len(selection.utterances), hours))
    for rank, (count, duration) in enumerate(read):
        if (count, duration) != read[0]:
            raise ConfigError(
                f"data.train: rank 0 has read {read[0][0]} utterances, {read[0][1]:.2f} h, and rank {rank} "
                f"{count} utterances, {duration:.2f} h; all machines must have the same manifests"
            )
