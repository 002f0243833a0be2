"""A training step of this project: what `jasper train` runs, on batches of noise."""

from __future__ import annotations

from timing import NUM_TOKENS, Durations

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.train.find_batch import noise_batch
from jasper.train.run import Run
from jasper.train.step import train_step
from jasper.train.tally import count_step


class OurStep:
    """A `Run` that is fed batches like those of its loader."""

    def __init__(self, config: Config) -> None:
        self.run = Run(config, resume=False)

    def batch(self, durations: Durations) -> Batch:
        """Noise of these durations (s); on a CPU as features, as the loader's workers make them."""
        return noise_batch(self.run.training_set, durations, NUM_TOKENS)

    def __call__(self, batch: Batch) -> float:
        """One step; returns its loss."""
        run, batches = self.run, [batch]
        rate = run.config.optimizer.learning_rate
        outcome = train_step(run.learner, run.ranks, batches, count_step(batches, run.ranks), 1, rate)
        return outcome.read()[0]

    def close(self) -> None:
        """Close the log, or its writer misses the directory."""
        self.run.log.__exit__()
