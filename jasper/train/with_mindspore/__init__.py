"""Training with MindSpore, as `jasper.train.backend` asks for it: on CPUs, and on Ascend cards."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore
import numpy as np
from mindspore import Tensor

from jasper.train.with_mindspore.learner import Learner as make_learner
from jasper.train.with_mindspore.loss import ctc_losses
from jasper.train.with_mindspore.ranks import Ranks, alone, start_ranks
from jasper.train.with_mindspore.reading import load_steps
from jasper.train.with_mindspore.step import train_step
from jasper.types import FloatArray

__all__ = [
    "Ranks",
    "alone",
    "ctc_loss",
    "load_steps",
    "make_learner",
    "start_ranks",
    "train_step",
    "use_threads",
]

CHECKPOINT_ENDING = ".npz"


def use_threads(number: int) -> None:
    """Compute with so many threads of the CPU."""
    mindspore.set_context(runtime_num_threads=number)


def ctc_loss(log_probs: FloatArray, tokens: Sequence[int], blank: int) -> float:
    """Of one utterance, log_probs (T, V), in nats."""
    steps, token_lengths = np.array([len(log_probs)]), np.array([len(tokens)])
    row = np.array([tokens or [0]])
    return float(ctc_losses(Tensor(log_probs[None]), steps, row, token_lengths, blank).asnumpy()[0])
