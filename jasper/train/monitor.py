"""What happens in the steps in; log rows, terminal lines, speed and the end of a run that goes wrong out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.errors import TrainingError
from jasper.train.adapt import Start
from jasper.train.log import RunLog, say


class Monitor:
    """Counts and tells what a user should know of the steps; none of it changes what is learnt."""

    def __init__(self, config: Config, log: RunLog) -> None:
        self.config = config
        self.log = log
        self.loss = math.nan  # of the last step
        self.skipped = 0  # steps in a row that moved nothing
        self.num_faults = 0  # utterances left out because they could not be used
        self.restart_clock()

    def report_start(self, start: Start) -> None:
        """Log what the training took over from a model."""
        say(start.summary())
        self.log.row(0, init_from=start.source, kept=start.kept, new=start.new, dropped=start.dropped)

    def report_fault(self, step: int, fault: str) -> None:
        """Log an utterance that could not be used in a step; TrainingError where `data.on_error` is stop."""
        self.num_faults += 1
        self.log.row(step, fault=fault)
        if self.config.data.on_error == "stop":
            raise TrainingError(f"step {step}: {fault}; data.on_error=skip would go on without it")
        say(f"left out of step {step}: {fault}")

    def report_skip(self, step: int, reason: str, ids: Sequence[str] = ()) -> None:
        """Log a step that moves nothing; too many in a row end the run, the last checkpoint untouched."""
        self.skipped += 1
        why = f"{reason} ({', '.join(ids)})" if ids else reason
        say(f"step {step} skipped: {why}")
        self.log.row(step, skipped=list(ids), reason=reason)
        if self.skipped > self.config.train.max_skipped:
            raise TrainingError(
                f"{self.skipped} steps in a row were skipped, the last because {why}; the checkpoint before "
                f"them, in {self.config.train.out}, is good: lower optimizer.learning_rate or look at the "
                "data"
            )

    def count_step(self, batches: Sequence[Batch]) -> None:
        """Count a step that was not skipped, and its audio for `speed`."""
        self.skipped = 0
        self._audio += sum(float(batch.lengths.sum()) for batch in batches) / self.config.features.sample_rate

    def restart_clock(self) -> None:
        """Begin to measure `speed` anew."""
        self._audio, self._since = 0.0, time.monotonic()

    def speed(self) -> float:
        """Seconds of audio a second of training since the clock was restarted."""
        return self._audio / max(time.monotonic() - self._since, 1e-9)
