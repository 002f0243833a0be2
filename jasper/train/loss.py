"""Log-probabilities and tokens in, one CTC loss an utterance out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
