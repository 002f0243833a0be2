"""What happens in the steps in; log rows, terminal lines, speed and the end of a run that goes wrong out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasper.config import Config
from jasper.errors import TrainingError
from jasper.train.log import RunLog, SilentLog, say
from jasper.train.place import Place
from jasper.train.start import Start
from jasper.train.tally import Tally
from jasper.train.usage import Usage

if TYPE_CHECKING:
    from jasper.train.ranks import Ranks
    from jasper.train.step import Outcome


@dataclass(frozen=True, slots=True)
class Made:
    """A step that was made, counted from 1."""

    step: int
    place: Place
    rate: float
    tally: Tally
    outcome: Outcome


class Monitor:
    """Counts and tells what a user should know of the steps; none of it changes what is learnt.

    It reads the outcome of a step when the next one has been given to the device, which so never waits.
    """

    def __init__(self, config: Config, ranks: Ranks, log: RunLog | SilentLog) -> None:
        self.config = config
        self.ranks = ranks
        self.log = log
        self.loss = math.nan  # of the last step that was read
        self.skipped = 0  # steps in a row that moved nothing
        self.num_faults = 0  # utterances left out because they could not be used
        self._unread: Made | None = None
        self._usage = Usage()
        self.restart_clock()

    def say(self, message: str) -> None:
        """Print a line, once for all ranks."""
        if self.ranks.main:
            say(message)

    def report_start(self, start: Start) -> None:
        """Log what the training took over from a model."""
        self.say(start.summary())
        self.log.row(0, init_from=start.source, kept=start.kept, new=start.new, dropped=start.dropped)

    def waited(self, seconds: float) -> None:
        """Count time in which the device may have had nothing to do, for there was no batch."""
        self._usage.count_wait(seconds)

    def note(self, made: Made) -> None:
        """Take in a step, and read the one before it. Raises TrainingError as `settle` does."""
        self.settle()
        self._unread = made

    def settle(self) -> None:
        """Read the outcome of the last step, log it, and raise TrainingError when too many were skipped.

        Every rank reads the same, but for the names of the utterances, which are gathered.
        """
        made, self._unread = self._unread, None
        if made is None:
            return
        self.loss, norm, losses = made.outcome.read()
        ids = made.outcome.ids
        if not made.tally.num_utterances:
            self._report_skip(made.step, "none of its utterances can be used", ())
        elif not math.isfinite(self.loss):
            bad = [name for name, loss in zip(ids, losses, strict=True) if not math.isfinite(loss)]
            self._report_skip(made.step, "the loss is not finite", bad)
        # In fp16 such a gradient is the loss scaler's doing: it looks for the largest scale that works.
        elif not math.isfinite(norm) and not made.outcome.scaled:
            self._report_skip(made.step, "the gradient is not finite", ids)
        else:
            self.skipped = 0
            self._audio += made.tally.num_samples / self.config.features.sample_rate
            self._usage.count(made.tally)
        if made.step % self.config.train.log_steps == 0:
            row = {"epoch": made.place.end, "loss": self.loss, "learning_rate": made.rate, "grad_norm": norm}
            self.log.row(made.step, **row)
            if self.ranks.main and self._usage.due():
                self.log.row(made.step, **self._usage.measure(self.config.features.sample_rate))

    def report_faults(self, step: int, faults: Sequence[str]) -> None:
        """Log utterances that cannot be used in a step; TrainingError where `data.on_error` is stop."""
        for fault in faults:
            self.num_faults += 1
            self.log.row(step, fault=fault)
            if self.config.data.on_error == "stop":
                raise TrainingError(f"step {step}: {fault}; data.on_error=skip would go on without it")
            self.say(f"left out of step {step}: {fault}")

    def _report_skip(self, step: int, reason: str, own_ids: Sequence[str]) -> None:
        """Log a step that moved nothing; too many in a row end the run, the last checkpoint untouched."""
        ids = [name for names in self.ranks.gather(own_ids) for name in names]
        self.skipped += 1
        why = f"{reason} ({', '.join(ids)})" if ids else reason
        self.say(f"step {step} skipped: {why}")
        self.log.row(step, skipped=ids, reason=reason)
        if self.skipped > self.config.train.max_skipped:
            raise TrainingError(
                f"{self.skipped} steps in a row were skipped, the last because {why}; the checkpoint before "
                f"them, in {self.config.train.out}, is good: lower optimizer.learning_rate or look at the "
                "data"
            )

    def restart_clock(self) -> None:
        """Begin to measure `speed` anew."""
        self._audio, self._since = 0.0, time.monotonic()

    def speed(self) -> float:
        """Seconds of audio a second of training, all ranks together, since the clock was restarted."""
        return self._audio / max(time.monotonic() - self._since, 1e-9)
