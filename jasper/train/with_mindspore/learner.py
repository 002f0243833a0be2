"""Batches in, losses and gradients out; and all that learning moves: weights, average, optimizer, scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
import numpy as np
from mindspore import ParameterTuple, Tensor

from jasper.bundle import Weights
from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.engines.mindspore import MindSporeEngine
from jasper.errors import CheckpointError, ConfigError, ModelError
from jasper.features import num_frames
from jasper.mindspore.weights import build_network, initial_weights, load_weights, network_weights
from jasper.train.start import Start, start_weights
from jasper.train.with_mindspore import many
from jasper.train.with_mindspore.adapt import hold_still, rate_factors
from jasper.train.with_mindspore.loss import training_losses
from jasper.train.with_mindspore.optimizers import OPTIMIZERS
from jasper.train.with_mindspore.ranks import Ranks
from jasper.train.with_mindspore.scale import LossScale
from jasper.train.with_mindspore.statistics import NormStatistics, is_running
from jasper.types import FloatArray

_PRECISIONS = {
    "auto": mindspore.float32,
    "fp32": mindspore.float32,
    "fp16": mindspore.float16,
    "bf16": mindspore.bfloat16,
}


class Learner:
    """A network in training. What changes from step to step is in `state()` and nowhere else.

    Random numbers are no part of it: dropout is a function of (seed, step, batch of the step).
    """

    def __init__(self, config: Config, ranks: Ranks, fresh: bool) -> None:
        """`fresh`: no checkpoint will be restored, so the weights begin as the configuration says."""
        _refuse_what_is_not_there(config)
        self.config = config
        self.precision = _PRECISIONS[config.train.precision]
        self.network = build_network(config.model)
        weights = initial_weights(self.network, config.train.seed)
        self.start: Start | None = None
        source = "init_from"
        if fresh and config.init_from is not None:
            source = str(config.init_from)
            self.start, weights = start_weights(source, weights, config.model)
        load_weights(self.network, weights, source)
        self.network.set_train()
        hold_still(self.network, config.adapt)
        self.average = build_network(config.model)
        load_weights(self.average, weights, source)
        self.parameters = ParameterTuple(self.network.trainable_params())
        factors = rate_factors(self.network, config.adapt)
        self.optimizer = OPTIMIZERS[config.optimizer.name](self.parameters, factors, config.optimizer)
        self.scale = LossScale(enabled=self.precision == mindspore.float16)
        self.statistics = NormStatistics([p for p in self.network.get_parameters() if is_running(p)])
        self._own, self._theirs = (list(net.get_parameters()) for net in (self.average, self.network))
        self._gradient = mindspore.value_and_grad(self._loss, None, self.parameters, has_aux=True)

    def seed(self, step: int, index: int) -> None:
        """Make the random numbers to come a function of (seed, step, batch of the step)."""
        entropy = np.random.SeedSequence((self.config.train.seed, step, index))
        mindspore.set_seed(int(entropy.generate_state(1)[0] >> 1))

    def gradient(self, batch: Batch, num_utterances: int) -> tuple[Tensor, Sequence[Tensor]]:
        """Losses (B,) of a batch, and the gradient of their sum / `num_utterances`, times the loss scale."""
        (_, losses), grads = self._gradient(batch, num_utterances)
        return losses, grads

    def _loss(self, batch: Batch, num_utterances: int) -> tuple[Tensor, Tensor]:
        assert batch.features is not None  # the threads that read compute them
        frames = num_frames(self.config.features, batch.lengths)
        spans = zip(batch.freq_spans, batch.time_spans, strict=True)
        features = np.concatenate([_hide_spans(batch.features, *view) for view in spans])
        lengths = np.tile(frames, self.config.loss.num_views)
        log_probs, _ = self.network(Tensor(features).astype(self.precision), Tensor(lengths))
        steps = self.config.network.num_steps(frames)
        losses = training_losses(log_probs, steps, batch.tokens, batch.token_lengths, self.config.loss)
        return losses.sum() * (self.scale.value / num_utterances), losses

    def follow(self, step: int) -> None:
        """Move the average after step `step`, counted from 1. Young averages follow faster."""
        decay = min(self.config.train.ema, (1 + step) / (10 + step))
        many.follow(self._own, self._theirs, 1 - decay)

    def average_weights(self) -> Weights:
        """The averaged network's, as a model directory keeps them."""
        return network_weights(self.average)

    def average_engine(self) -> MindSporeEngine:
        """The averaged network, to recognise with."""
        return MindSporeEngine(self.average)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs for the next step to be the one that would have come."""
        return {
            "network": network_weights(self.network),
            "average": network_weights(self.average),
            "optimizer": self.optimizer.state(),
            "scale": self.scale.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; CheckpointError if it is of another network or optimizer."""
        source = str(self.config.train.out)
        try:
            load_weights(self.network, state["network"], source)
            load_weights(self.average, state["average"], source)
            self.optimizer.restore(state["optimizer"])
        except (KeyError, ValueError, ModelError) as error:
            raise CheckpointError(
                f"{source}: its checkpoints are of another network or optimizer; "
                f"choose another train.out or remove it ({error})"
            ) from None
        self.scale.restore(state["scale"])


def _refuse_what_is_not_there(config: Config) -> None:
    missing = {
        "train.compile": config.train.compile,
        "train.activation_checkpointing": config.train.activation_checkpointing,
        "train.precision=fp64": config.train.precision == "fp64",
    }
    for name in (name for name, asked in missing.items() if asked):
        raise ConfigError(f"{name} is there with train.engine=torch alone")
    if config.train.precision == "bf16" and mindspore.get_context("device_target") == "CPU":
        raise ConfigError("train.precision=bf16: MindSpore has it on Ascend cards alone; take fp32 or fp16")


def _hide_spans(features: FloatArray, freq_spans: Any, time_spans: Any) -> FloatArray:
    """SpecAugment of features (B, F, T), as `jasper.nn.spec_augment.hide_spans` has it."""
    hidden: FloatArray = features.copy()
    for row, (bins, frames) in enumerate(zip(freq_spans, time_spans, strict=True)):
        for first, last in bins:
            hidden[row, first:last] = 0.0
        for first, last in frames:
            hidden[row, :, first:last] = 0.0
    return hidden
