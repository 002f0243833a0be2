"""MindSpore's CTC loss is PyTorch's, of noise without a transcript too."""

import numpy as np
import pytest
import torch
from mindspore import Tensor

from jasper.train.loss import ctc_losses as expected_losses
from jasper.train.with_mindspore.loss import ctc_losses


@pytest.mark.parametrize("texts", [[(0, 1), (), (2,)], [(), (), ()]])
def test_losses_are_pytorchs_whether_or_not_there_is_a_transcript(texts):
    log_probs = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    lengths, token_lengths = np.array([6, 4, 5]), np.array([len(text) for text in texts])
    tokens = np.zeros((3, max(token_lengths)), dtype=np.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    found = ctc_losses(Tensor(log_probs.numpy()), lengths, tokens, token_lengths, 3).asnumpy()
    wanted = expected_losses(log_probs, *map(torch.from_numpy, (lengths, tokens, token_lengths)), 3)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for row, length in enumerate(lengths):
        if not texts[row]:
            assert found[row] == pytest.approx(-float(log_probs[row, :length, 3].sum()), rel=1e-5)
