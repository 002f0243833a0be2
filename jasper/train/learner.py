"""Batches in, losses out; and all that learning moves: weights, their average, optimizer, loss scale."""

from __future__ import annotations

import torch
from torch import Tensor

from jasper.config import Config
from jasper.data.dataset import Batch
from jasper.errors import CheckpointError
from jasper.features import num_frames
from jasper.nn import TorchFeatures
from jasper.nn.device import feature_precision, pick_precision
from jasper.nn.spec_augment import hide_spans
from jasper.nn.weights import build_network
from jasper.train.adapt import Start, hold_still, parameter_groups, start_from
from jasper.train.average import MovingAverage
from jasper.train.checkpoint import State
from jasper.train.loss import ctc_losses
from jasper.train.optimizers import build_optimizer


class Learner:
    """A network in training on a device. What changes from step to step is in `state()` and nowhere else.

    Random numbers are no part of it: dropout and dither are a function of (seed, step).
    """

    def __init__(self, config: Config, device: torch.device, fresh: bool) -> None:
        """`fresh`: no checkpoint will be restored, so the weights begin as the configuration says."""
        self.config = config
        self.device = device
        torch.manual_seed(config.train.seed % 2**63)
        self.network = build_network(config.model).to(device).train()
        self.features = TorchFeatures(config.features, feature_precision(device)).to(device).train()
        self.start: Start | None = None
        if fresh and config.init_from is not None:
            self.start = start_from(str(config.init_from), self.network, config.model)
        hold_still(self.network, config.adapt)
        self.average = MovingAverage(self.network, config.train.ema)
        self.optimizer = build_optimizer(parameter_groups(self.network, config.adapt), config.optimizer)
        self.precision = pick_precision(config.train.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self._buffers: list[Tensor] = []  # the network's, as they were before the step

    def begin_step(self, step: int, rate: float) -> None:
        """Set the rate, make the random numbers a function of (seed, step), note what `undo_step` needs."""
        torch.manual_seed((self.config.train.seed * 1_000_000_007 + step) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self.optimizer.zero_grad()
        self._buffers = [buffer.clone() for buffer in self.network.buffers()]

    def undo_step(self) -> None:
        """Put batch norm's statistics back: the forward pass moved them, and NaN would never leave them."""
        for buffer, before in zip(self.network.buffers(), self._buffers, strict=True):
            buffer.copy_(before)

    def forward(self, batch: Batch) -> Tensor:
        """The CTC losses (B,) of a batch, augmented on the device."""
        lengths = torch.from_numpy(batch.lengths).to(self.device)
        if batch.features is None:
            features, lengths = self.features(torch.from_numpy(batch.waves).to(self.device), lengths)
        else:
            features, lengths = torch.from_numpy(batch.features), num_frames(self.config.features, lengths)
        freq_spans, time_spans = torch.from_numpy(batch.freq_spans), torch.from_numpy(batch.time_spans)
        features = hide_spans(features, freq_spans.to(self.device), time_spans.to(self.device))
        mixed = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=mixed):
            log_probs, out_lengths = self.network(features, lengths)
        tokens = torch.from_numpy(batch.tokens).to(self.device)
        token_lengths = torch.from_numpy(batch.token_lengths).to(self.device)
        blank = len(self.config.text.labels)
        return ctc_losses(log_probs, out_lengths, tokens, token_lengths, blank)

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
