"""Training with PyTorch, as `jasper.train.backend` asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from jasper.nn.device import pick_device
from jasper.train.learner import Learner as make_learner
from jasper.train.loader import load_steps
from jasper.train.loss import ctc_losses
from jasper.train.ranks import Ranks, start_ranks
from jasper.train.step import train_step
from jasper.types import FloatArray

__all__ = ["alone", "ctc_loss", "load_steps", "make_learner", "start_ranks", "train_step", "use_threads"]

CHECKPOINT_ENDING = ".pt"


def alone(device: str) -> Ranks:
    """The ranks of a process that trains alone."""
    return Ranks(pick_device(device))


def use_threads(number: int) -> None:
    """Compute with so many threads of the CPU."""
    torch.set_num_threads(number)


def ctc_loss(log_probs: FloatArray, tokens: Sequence[int], blank: int) -> float:
    """Of one utterance, log_probs (T, V), in nats."""
    losses = ctc_losses(
        torch.from_numpy(log_probs)[None],
        torch.tensor([len(log_probs)]),
        torch.tensor([tokens], dtype=torch.int64),
        torch.tensor([len(tokens)]),
        blank,
    )
    return float(losses[0])
