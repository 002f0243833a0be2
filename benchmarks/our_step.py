"""A training step of this project: what `jasper train` runs, on batches of noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from timing import NUM_TOKENS, Durations

from jasper.config import Config
from jasper.data.dataset import Batch, Example, collate
from jasper.features import FeatureExtractor, num_frames
from jasper.train.run import Run
from jasper.train.step import train_step
from jasper.train.tally import count_step


class OurStep:
    """A `Run` that is fed batches like those of its loader."""

    def __init__(self, config: Config) -> None:
        self.run = Run(config, resume=False)

    def batch(self, durations: Durations) -> Batch:
        """Noise of these durations (s); on a CPU as features, as the loader's workers make them."""
        config, rng = self.run.config, np.random.default_rng(0)
        examples = []
        for index, duration in enumerate(durations):
            wave = rng.standard_normal(round(duration * config.features.sample_rate), dtype=np.float32)
            tokens = rng.integers(0, len(config.text.labels), NUM_TOKENS)
            frames = num_frames(config.features, wave.size)
            spans = self.run.training_set.augmenter.draw_spans(config.features.num_mels, frames, rng)
            examples.append(Example(str(index), wave, tokens, spans))
        batch = collate(examples)
        if self.run.learner.device.type != "cpu":
            return batch
        features, _ = FeatureExtractor(config.features)([example.wave for example in examples])
        return replace(batch, waves=batch.waves[:, :0].copy(), features=features)

    def __call__(self, batch: Batch) -> float:
        """One step; returns its loss."""
        run, batches = self.run, [batch]
        rate = run.config.optimizer.learning_rate
        outcome = train_step(run.learner, run.ranks, batches, count_step(batches, run.ranks), 1, rate)
        return outcome.read()[0]

    def close(self) -> None:
        """Close the log, or its writer misses the directory."""
        self.run.log.__exit__()
