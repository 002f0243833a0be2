"""The host gives the device a step without waiting for it, and reads it when the next one is given."""

import dataclasses

import numpy as np
import pytest
import torch
from tones import everything_random, log_rows, recipe

from jasper.data.dataset import TrainingSet
from jasper.train import train, with_torch
from jasper.train.optimizers import NovoGrad
from jasper.train.run import Run
from jasper.train.step import Outcome, train_step
from jasper.train.tally import count_step

# What makes the host wait until the device has computed a value.
READS = ("item", "tolist", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__")


@pytest.fixture
def reads(monkeypatch):
    """The reads of tensors that are made while the list's `append` is watched."""
    seen = []

    def watched(name, original):
        def read(tensor, *args, **kwargs):
            seen.append(name)
            return original(tensor, *args, **kwargs)

        return read

    for name in READS:
        monkeypatch.setattr(torch.Tensor, name, watched(name, getattr(torch.Tensor, name)))
    return seen


@pytest.mark.parametrize("features_of", ["workers", "device"])
@pytest.mark.parametrize("optimizer", ["adamw", "novograd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_reads_nothing_from_the_device(
    tmp_path, corpus, noise, reads, optimizer, precision, features_of
):
    """Twelve losses a step were read as they came, and the device had nothing to do each time."""
    sections = everything_random(noise)
    settings = {"name": optimizer, "clip_norm": 1.0}
    run = Run(recipe(corpus, tmp_path, **sections, optimizer=settings, train={"precision": precision}), False)
    with run.log:
        training_set = TrainingSet(run.config, with_features=features_of == "workers")
        batches = [training_set.batch(run.selection.utterances[i : i + 3], 0) for i in (0, 3)]
        for step in (1, 2):  # the first makes the optimizer's state
            reads.clear()
            outcome = train_step(run.learner, run.ranks, batches, count_step(batches, run.ranks), step, 0.01)
            assert reads == []
    outcome.read()
    assert reads == ["tolist"]


def test_a_step_is_read_when_the_next_is_given_and_before_it_is_kept(tmp_path, corpus, dev, monkeypatch):
    order = []

    def noting(name, original):
        def call(*args, **kwargs):
            order.append(name)
            return original(*args, **kwargs)

        return call

    monkeypatch.setattr(with_torch, "train_step", noting("step", train_step))
    monkeypatch.setattr(Outcome, "read", noting("read", Outcome.read))
    monkeypatch.setattr(Run, "evaluate", noting("evaluate", Run.evaluate))
    monkeypatch.setattr(Run, "state", noting("state", Run.state))
    settings = {"epochs": 1, "checkpoint_steps": 2, "max_steps": 5}
    train(recipe(corpus, tmp_path, data={"dev": [str(dev)]}, train=settings))
    given = ["step", "step", "read", "read", "state", "step", "step", "read", "read", "state"]
    assert order == [*given, "step", "read", "evaluate", "state"]
    assert [row["step"] for row in log_rows(tmp_path, "loss")] == [1, 2, 3, 4, 5]


def optimizer_of(name, weights):
    if name == "novograd":
        return NovoGrad([weights], 0.1, betas=(0.9, 0.5), weight_decay=0.01)
    return torch.optim.AdamW([weights], 0.1, weight_decay=0.01, fused=True)


@pytest.mark.parametrize("name", ["adamw", "novograd"])
@pytest.mark.parametrize("masked", [0, 1, 2])
def test_a_masked_step_leaves_no_trace(name, masked):
    """Bit for bit, the first step included: NovoGrad begins its average with the first gradient it takes."""
    good = [torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    ends = []
    for gradients in (good, [*good[:masked], torch.full((5, 3), np.nan), *good[masked:]]):
        weights = torch.nn.Parameter(torch.ones(5, 3))
        optimizer = optimizer_of(name, weights)
        for gradient in gradients:
            weights.grad = gradient.clone()
            optimizer.found_inf = (~gradient.isfinite().all()).float()
            optimizer.step()
        ends.append((weights.detach(), *optimizer.state[weights].values()))
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert ends[0][0].isfinite().all()


def test_a_step_that_is_not_finite_is_masked_whole(tmp_path, corpus):
    """Weights, average, statistics and the optimizer's moments are as if it had not been."""
    ends = []
    for name, with_bad in (("without", False), ("with", True)):
        run = Run(recipe(corpus, tmp_path / name, optimizer={"name": "novograd"}), resume=False)
        good = run.training_set.batch(run.selection.utterances[:4], 0)
        bad = dataclasses.replace(good, features=good.features * np.float32(np.nan))
        with run.log:
            for step, batch in ((1, good), (2, bad), (3, good)):
                if with_bad or step != 2:
                    tally = count_step([batch], run.ranks)
                    train_step(run.learner, run.ranks, [batch], tally, step, 0.01)
        ends.append(run.learner.state())
    for part in ("network", "average"):
        assert all(torch.equal(ends[1][part][key], value) for key, value in ends[0][part].items())
    for key, state in ends[0]["optimizer"]["state"].items():
        assert all(torch.equal(ends[1]["optimizer"]["state"][key][n], value) for n, value in state.items())
