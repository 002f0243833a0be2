"""Log-probabilities and tokens in, one loss an utterance out: CTC, and consistency between two views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jasper.config import LossConfig


def training_losses(
    log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor, config: LossConfig
) -> Tensor:
    """The loss (B,) of each utterance: the mean of its views' CTC losses, and what `config` adds.

    log_probs (V B, T', V') hold all first views, then all second ones, the blank last; lengths (B,) are in
    steps, tokens (B, U).
    """
    views = config.num_views
    ctc = ctc_losses(
        log_probs,
        lengths.repeat(views),
        tokens.repeat(views, 1),
        token_lengths.repeat(views),
        blank=log_probs.shape[2] - 1,
    )
    losses = ctc.view(views, -1).mean(dim=0)
    if config.consistency:
        first, second = log_probs.chunk(2)
        losses = losses + config.consistency * consistency_losses(first, second, lengths)
    return losses


def consistency_losses(first: Tensor, second: Tensor, lengths: Tensor) -> Tensor:
    """How far the posteriors of two views (B, T', V) are apart, summed over the valid steps of each row (B,).

    Half the sum of both Kullback-Leibler divergences; each view is drawn to the other, which stands still.
    """
    both = _divergences(second.detach(), first) + _divergences(first.detach(), second)
    valid = torch.arange(first.shape[1], device=first.device) < lengths.to(first.device)[:, None]
    return both.masked_fill(~valid, 0.0).sum(dim=1) / 2


def _divergences(target: Tensor, log_probs: Tensor) -> Tensor:
    """Of log_probs (B, T', V) from a target, at each step (B, T')."""
    return functional.kl_div(log_probs, target, reduction="none", log_target=True).sum(dim=2)


def ctc_losses(
    log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor, blank: int
) -> Tensor:
    """Negative log-likelihood (B,) of tokens (B, U) under log_probs (B, T', V), in nats, float32 at least.

    Infinite where a transcript needs more steps than its row has: such utterances must be refused before.
    """
    wide = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    return functional.ctc_loss(
        wide.transpose(0, 1), tokens, lengths, token_lengths, blank=blank, reduction="none"
    )
