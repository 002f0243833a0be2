"""Batches in, losses out; and all that learning moves: weights, their average, optimizer, loss scale."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasper.bundle import Weights
from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.engines.torch import TorchEngine
from jasper.errors import CheckpointError
from jasper.features import num_frames
from jasper.nn import TorchFeatures
from jasper.nn.device import feature_precision, pick_precision, runs_beside_host
from jasper.nn.spec_augment import hide_spans
from jasper.nn.weights import build_network, network_weights
from jasper.train.adapt import hold_still, parameter_groups, start_from
from jasper.train.average import MovingAverage
from jasper.train.checkpoint import State
from jasper.train.gradients import GradientSums
from jasper.train.loss import training_losses
from jasper.train.optimizers import build_optimizer
from jasper.train.ranks import Ranks
from jasper.train.start import Start
from jasper.train.statistics import NormStatistics


class Learner:
    """A network in training on a device. What changes from step to step is in `state()` and nowhere else.

    Random numbers are no part of it: dropout and dither are a function of (seed, step, batch of the step).
    """

    def __init__(self, config: Config, ranks: Ranks, fresh: bool) -> None:
        """`fresh`: no checkpoint will be restored, so the weights begin as the configuration says."""
        self.config = config
        self.device = device = ranks.device
        self.precision = pick_precision(config.train.precision, device)
        double = self.precision == torch.float64
        torch.manual_seed(config.train.seed % 2**63)
        self.network = build_network(config.model).to(device, torch.float64 if double else None).train()
        self.network.recompute = config.train.activation_checkpointing
        self.features = TorchFeatures(config.features, feature_precision(device)).to(device).train()
        self.start: Start | None = None
        if fresh and config.init_from is not None:
            self.start = start_from(str(config.init_from), self.network, config.model)
        hold_still(self.network, config.adapt)
        self.average = MovingAverage(self.network, config.train.ema)
        if config.train.compile:  # after the average was copied, which only recognizes
            self.network.compile_activations()
        self.optimizer = build_optimizer(parameter_groups(self.network, config.adapt), config.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.gradients = GradientSums(self.network.parameters(), ranks)
        self.statistics = NormStatistics(self.network, ranks)

    def begin_step(self, rate: float) -> None:
        """Set the rate and forget the gradients of the step before."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self.optimizer.zero_grad()
        self.statistics.begin_step()

    def seed(self, step: int, index: int) -> None:
        """Make the random numbers to come a function of (seed, step, batch of the step)."""
        entropy = np.random.SeedSequence((self.config.train.seed, step, index))
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def forward(self, batch: Batch) -> Tensor:
        """The losses (B,) of a batch, augmented on the device."""
        frames = num_frames(self.config.features, batch.lengths)
        if batch.features is None:
            features, lengths = self.features(self._there(batch.waves), self._there(batch.lengths))
        else:
            features, lengths = self._there(batch.features), self._there(frames)
        spans = zip(self._there(batch.freq_spans), self._there(batch.time_spans), strict=True)
        features = torch.cat([hide_spans(features, *view) for view in spans])
        mixed = self.precision in (torch.bfloat16, torch.float16)
        with torch.autocast(self.device.type, self.precision if mixed else None, enabled=mixed):
            features = features.to(self.network.head.weight.dtype)
            log_probs, _ = self.network(features, lengths.repeat(self.config.loss.num_views))
        # CTC wants lengths on the host, and would wait for the device to have them from there.
        steps = torch.from_numpy(self.config.network.num_steps(frames))
        token_lengths = torch.from_numpy(batch.token_lengths)
        return training_losses(log_probs, steps, self._there(batch.tokens), token_lengths, self.config.loss)

    def no_losses(self) -> Tensor:
        """What `forward` gives for no utterance (0,)."""
        dtype = torch.promote_types(self.network.head.weight.dtype, torch.float32)
        return torch.zeros(0, dtype=dtype, device=self.device)

    def _there(self, array: NDArray[np.generic]) -> Tensor:
        """The array on the device; the host does not wait for the copy."""
        tensor = torch.from_numpy(array)
        if runs_beside_host(self.device):
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def average_weights(self) -> Weights:
        """The averaged network's, as a model directory keeps them."""
        return network_weights(self.average.network)

    def average_engine(self) -> TorchEngine:
        """The averaged network, to recognise with."""
        return TorchEngine(self.average.network, self.device)

    def state(self) -> State:
        """All that `restore` needs for the next step to be the one that would have come."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Take up a state; CheckpointError if it is of another network or optimizer."""
        try:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            settings = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["optimizer"])
            # Betas and weight decay are the configuration's, not those that the checkpoint was made with.
            for group, own in zip(self.optimizer.param_groups, settings, strict=True):
                group.update(own)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{self.config.train.out}: its checkpoints are of another network or optimizer; "
                f"choose another train.out or remove it ({reason})"
            ) from None
        self.scaler.load_state_dict(state["scaler"])
