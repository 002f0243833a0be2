"""The loss is the sum over all alignments, each utterance's its own."""

import math
from itertools import groupby, product

import numpy as np
import pytest
import torch

from jasper.text import min_frames
from jasper.train.loss import ctc_losses

BLANK = 3


def random_log_probs(rows, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, steps, BLANK + 1, generator=generator).log_softmax(-1)


def losses_of(log_probs, lengths, texts):
    width = max(map(len, texts))
    tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], dtype=torch.int64)
    token_lengths = torch.tensor([len(text) for text in texts])
    return ctc_losses(
        log_probs, torch.tensor(lengths), tokens.reshape(len(texts), width), token_lengths, BLANK
    )


def by_enumeration(log_probs, text):
    """Minus the log of the summed probability of every path that collapses to the text."""
    steps = len(log_probs)
    total = 0.0
    for path in product(range(BLANK + 1), repeat=steps):
        if [label for label, _ in groupby(path) if label != BLANK] == list(text):
            total += math.exp(sum(float(log_probs[step, label]) for step, label in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("text", [(), (0,), (1, 2), (0, 0), (2, 1, 2), (1, 1, 0)])
@pytest.mark.parametrize("steps", [3, 5])
def test_equal_to_the_sum_over_all_alignments(text, steps):
    log_probs = random_log_probs(1, steps, seed=steps)
    (loss,) = losses_of(log_probs, [steps], [text]).tolist()
    assert loss == pytest.approx(by_enumeration(log_probs[0], text), rel=1e-5)


def test_each_row_of_a_ragged_batch_has_the_loss_that_it_has_alone():
    log_probs, lengths, texts = random_log_probs(4, 6, seed=7), [6, 4, 5, 2], [(0, 1), (2, 2), (1,), ()]
    together = losses_of(log_probs, lengths, texts)
    for row, (length, text) in enumerate(zip(lengths, texts, strict=True)):
        alone = losses_of(log_probs[row : row + 1, :length], [length], [text])
        assert torch.allclose(together[row], alone[0], rtol=1e-6)


@pytest.mark.parametrize(("text", "steps"), [((0, 0), 2), ((0, 1, 2), 2), ((1, 1, 1), 4)])
def test_infinite_exactly_where_min_frames_says_so(text, steps):
    assert min_frames(text) == steps + 1
    assert losses_of(random_log_probs(1, steps, 0), [steps], [text]).isinf().all()
    assert losses_of(random_log_probs(1, steps + 1, 0), [steps + 1], [text]).isfinite().all()


def test_16_bit_log_probs_are_summed_in_single_precision():
    log_probs = random_log_probs(2, 40, seed=3).to(torch.bfloat16)
    losses = losses_of(log_probs, [40, 40], [(0, 1, 2), (2,)])
    assert losses.dtype == torch.float32
    assert torch.equal(losses, losses_of(log_probs.float(), [40, 40], [(0, 1, 2), (2,)]))


def test_the_gradient_is_that_of_the_enumerated_loss():
    log_probs = random_log_probs(1, 4, seed=11).double()
    logits = log_probs.clone().requires_grad_()
    losses_of(logits.log_softmax(-1), [4], [(0, 2)]).sum().backward()
    for place in np.ndindex(4, BLANK + 1):
        shifted = [log_probs[0].clone() for _ in range(2)]
        for sign, values in zip((1, -1), shifted, strict=True):
            values[place] += sign * 1e-4
        up, down = (by_enumeration(values.log_softmax(-1), (0, 2)) for values in shifted)
        assert float(logits.grad[(0, *place)]) == pytest.approx((up - down) / 2e-4, abs=1e-4)
