"""Log-probabilities and tokens in, one loss an utterance out: CTC, and consistency between two views."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops
from numpy.typing import NDArray

from jasper.config import LossConfig
from jasper.types import IntArray


def training_losses(
    log_probs: Tensor, lengths: IntArray, tokens: IntArray, token_lengths: IntArray, config: LossConfig
) -> Tensor:
    """The loss (B,) of each utterance; arguments are those of `jasper.train.loss.training_losses`."""
    views = config.num_views
    ctc = ctc_losses(
        log_probs,
        np.tile(lengths, views),
        np.tile(tokens, (views, 1)),
        np.tile(token_lengths, views),
        blank=log_probs.shape[2] - 1,
    )
    losses = ctc.reshape(views, -1).mean(0)
    if config.consistency:
        first, second = ops.chunk(log_probs, 2)
        losses = losses + config.consistency * consistency_losses(first, second, lengths)
    return losses


def consistency_losses(first: Tensor, second: Tensor, lengths: IntArray) -> Tensor:
    """How far the posteriors of two views (B, T', V) are apart (B,); see `jasper.train.loss`."""
    both = _divergences(ops.stop_gradient(second), first) + _divergences(ops.stop_gradient(first), second)
    valid = np.arange(first.shape[1]) < lengths[:, None]
    return (both * Tensor(valid.astype(np.float32))).sum(1) / 2


def _divergences(target: Tensor, log_probs: Tensor) -> Tensor:
    """Of log_probs (B, T', V) from a target, at each step (B, T')."""
    return (ops.exp(target) * (target - log_probs)).sum(2)


def ctc_losses(
    log_probs: Tensor, lengths: IntArray, tokens: IntArray, token_lengths: IntArray, blank: int
) -> Tensor:
    """Negative log-likelihood (B,) of tokens (B, U) under log_probs (B, T', V), in nats, float32.

    Infinite where a transcript needs more steps than its row has: such utterances must be refused before.
    """
    return ops.ctc_loss(
        log_probs.swapaxes(0, 1),
        *(Tensor(_as_int32(array)) for array in (tokens, lengths, token_lengths)),
        blank=blank,
        reduction="none",
    )[0]


def _as_int32(array: IntArray) -> NDArray[np.int32]:
    return array.astype(np.int32)
