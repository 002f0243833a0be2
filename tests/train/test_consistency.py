"""Consistency between two views: the plain formula, each row its own, and a training that stays exact."""

import numpy as np
import pytest
import torch
from tones import assert_same_run, everything_random, log_rows, recipe

from jasper.config import LossConfig
from jasper.data.dataset import TrainingSet
from jasper.data.selection import read_training
from jasper.train import train
from jasper.train.loss import consistency_losses, ctc_losses, training_losses
from jasper.train.run import Run

LENGTHS = [6, 4, 1, 0]
LABELS = 5  # with the blank


def random_logits(seed):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(len(LENGTHS), max(LENGTHS), LABELS, generator=generator, dtype=torch.float64)


def with_masks(noise, weight):
    """Sections of a recipe with everything random, SpecAugment too."""
    sections = everything_random(noise)
    masks = {"freq_masks": 2, "time_masks": 2}
    return {**sections, "augment": {**sections["augment"], **masks}, "loss": {"consistency": weight}}


def by_the_formula(first, second, length):
    """Half of KL(second || first) + KL(first || second), number by number, of log-probabilities (T, V)."""
    total = 0.0
    for step in range(length):
        for label in range(first.shape[1]):
            p, q = float(first[step, label]), float(second[step, label])
            total += 0.5 * np.exp(q) * (q - p) + 0.5 * np.exp(p) * (p - q)
    return total


def test_equal_to_the_formula_over_the_valid_steps():
    first, second = random_logits(1).log_softmax(-1), random_logits(2).log_softmax(-1)
    losses = consistency_losses(first, second, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        assert float(losses[row]) == pytest.approx(by_the_formula(first[row], second[row], length), rel=1e-12)
    assert losses[0] > 1
    assert float(losses[3]) == 0
    assert torch.equal(consistency_losses(first, first, torch.tensor(LENGTHS)), torch.zeros(4).double())


def test_each_row_has_the_loss_that_it_has_alone_whatever_stands_in_the_padding():
    first, second = random_logits(1), random_logits(2)
    together = consistency_losses(first.log_softmax(-1), second.log_softmax(-1), torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        alone = (x[row : row + 1, :length].log_softmax(-1) for x in (first, second))
        assert torch.allclose(consistency_losses(*alone, torch.tensor([length])), together[row])
        first[row, length:] = 1e4 * random_logits(3)[row, length:]
    padded = consistency_losses(first.log_softmax(-1), second.log_softmax(-1), torch.tensor(LENGTHS))
    assert torch.equal(padded, together)


def test_each_view_is_drawn_to_the_other_which_stands_still():
    """The gradient of a divergence from a fixed target is posterior minus target."""
    logits = [random_logits(seed).requires_grad_() for seed in (1, 2)]
    consistency_losses(*(x.log_softmax(-1) for x in logits), torch.tensor(LENGTHS)).sum().backward()
    p, q = (x.detach().softmax(-1) for x in logits)
    valid = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None])[:, :, None]
    assert torch.allclose(logits[0].grad, (p - q) / 2 * valid, atol=1e-12)
    assert torch.allclose(logits[1].grad, (q - p) / 2 * valid, atol=1e-12)


def test_the_loss_is_the_mean_of_both_views_and_the_weighted_consistency():
    log_probs, lengths = random_logits(4).log_softmax(-1), torch.tensor([6, 4])
    tokens, spelt = torch.tensor([[0, 1, 1], [2, 0, 0]]), torch.tensor([3, 1])
    losses = training_losses(log_probs, lengths, tokens, spelt, LossConfig(consistency=0.3))
    for row in range(2):
        views = [log_probs[place : place + 1, : lengths[row]] for place in (row, 2 + row)]
        alone = (lengths[row : row + 1], tokens[row : row + 1, : spelt[row]], spelt[row : row + 1])
        ctc = sum(float(ctc_losses(view, *alone, blank=4)) for view in views) / 2
        expected = ctc + 0.3 * by_the_formula(views[0][0], views[1][0], int(lengths[row]))
        assert float(losses[row]) == pytest.approx(expected, rel=1e-12)
    plain = training_losses(log_probs[:2], lengths, tokens, spelt, LossConfig())
    assert torch.equal(plain, ctc_losses(log_probs[:2], lengths, tokens, spelt, blank=4))


def test_the_views_have_masks_of_their_own_and_the_first_has_those_of_a_training_without(
    tmp_path, corpus, noise
):
    one, two = (recipe(corpus, tmp_path, **with_masks(noise, weight)) for weight in (0.0, 0.2))
    utterances = read_training(one).utterances[:4]
    single, double = (TrainingSet(config).batch(utterances, 3) for config in (one, two))
    for name in ("freq_spans", "time_spans"):
        spans, views = getattr(single, name), getattr(double, name)
        assert (spans.shape, views.shape) == ((1, 4, 2, 2), (2, 4, 2, 2))
        np.testing.assert_array_equal(views[0], spans[0])
        assert (views[1] != views[0]).any()
    np.testing.assert_array_equal(single.waves, double.waves)


def test_a_run_with_consistency_learns_and_ends_in_the_same_bits_when_it_was_cut(tmp_path, corpus, noise):
    sections = with_masks(noise, 0.2)
    for out, cuts in (("whole", [None]), ("cut", [7, None])):
        for cut in cuts:
            train(recipe(corpus, tmp_path / out, **sections, train={"epochs": 6, "max_steps": cut}))
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    losses = [row["loss"] for row in log_rows(tmp_path / "whole", "loss")]
    assert sum(losses[-6:]) < sum(losses[:6]) / 2


def test_in_16_bits_the_loss_is_computed_in_single_precision(tmp_path, corpus, noise):
    losses = {}
    for precision in ("fp32", "bf16"):
        sections = {**with_masks(noise, 5.0), "train": {"precision": precision}}
        run = Run(recipe(corpus, tmp_path / precision, **sections), resume=False)
        run.log.__exit__()
        run.learner.seed(0, 0)
        batch = run.training_set.batch(run.selection.utterances, 0)
        losses[precision] = run.learner.forward(batch).detach()
    assert losses["bf16"].dtype == torch.float32
    assert torch.allclose(losses["bf16"], losses["fp32"], rtol=0.1, atol=0.3)
