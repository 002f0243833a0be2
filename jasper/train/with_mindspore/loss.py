"""Log-probabilities and tokens in, one CTC loss an utterance out."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops
from numpy.typing import NDArray

from jasper.types import IntArray


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
