"""Losses and gradients that are not finite: named, logged, skipped, and never in a checkpoint."""

import dataclasses

import numpy as np
import pytest
import torch
from tones import log_rows, make_step, newest_state, recipe, run_jasper, write_corpus

from jasper.bundle import read_weights, write_bundle
from jasper.errors import TrainingError
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import dump_yaml
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints
from jasper.train.run import Run

IDS = {f"train-{index:02d}" for index in range(12)}


def model_with(folder, config, change):
    """A model directory whose fresh weights were changed by `change(name, array)`."""
    torch.manual_seed(0)
    weights = network_weights(build_network(config.model))
    return write_bundle(folder, config.model, {name: change(name, array) for name, array in weights.items()})


def all_finite(state):
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(all_finite, state.values()))
    return all(map(all_finite, state)) if isinstance(state, (list, tuple)) else True


def test_a_loss_that_is_never_finite_ends_the_run_and_names_the_utterances(tmp_path, corpus):
    """Non-finite losses vanished from the log: the average simply left them out."""
    out = tmp_path / "run"
    config = recipe(corpus, out, train={"epochs": 30, "eval_epochs": 100, "max_skipped": 3})
    broken = model_with(tmp_path / "broken", config, lambda name, array: np.full_like(array, np.nan))
    config = config.model_copy(update={"init_from": broken})
    (tmp_path / "recipe.yaml").write_text(dump_yaml(config))
    finished = run_jasper("train", tmp_path / "recipe.yaml")
    assert finished.code == 2
    assert len(finished.faults) == 1
    assert "4 steps in a row were skipped, the last because the loss is not finite" in finished.faults[0]
    assert "Traceback" not in finished.stderr
    rows = log_rows(out, "skipped")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    named = {name for row in rows for name in row["skipped"]}
    assert len(named) >= 6
    assert named <= IDS
    assert all(name in finished.stderr for name in named)
    assert [row["loss"] for row in log_rows(out, "loss")] == ["nan"] * 3
    assert not list_checkpoints(out / "checkpoints")


def test_a_rate_that_is_far_too_high_leaves_the_good_checkpoints(tmp_path, corpus):
    """Steps that are skipped went on writing checkpoints of the ruined weights over the good ones."""
    train(recipe(corpus, tmp_path, train={"max_steps": 5, "checkpoint_steps": 1}))
    ruinous = recipe(
        corpus,
        tmp_path,
        optimizer={"learning_rate": 1e30},
        schedule={"warmup_epochs": 0},
        train={"epochs": 9, "checkpoint_steps": 1, "eval_epochs": 100},
    )
    with pytest.raises(TrainingError, match="11 steps in a row were skipped"):
        train(ruinous)
    kept = [int(path.stem.split("-")[1]) for path in list_checkpoints(tmp_path / "checkpoints")]
    assert kept == [6, 5, 4]  # 6 is the step that ruined them
    assert all_finite(newest_state(tmp_path))
    assert log_rows(tmp_path, "skipped")
    (tmp_path / "checkpoints" / "step-000000006.pt").unlink()
    assert train(recipe(corpus, tmp_path)).step == 18


def test_a_finite_loss_with_an_infinite_gradient_moves_nothing(tmp_path, corpus):
    """Only the loss was looked at: one gradient that overflowed turned every weight into NaN."""
    config = recipe(corpus, tmp_path / "run")
    steep = model_with(
        tmp_path / "steep", config, lambda name, array: array * 1e25 if name == "head.weight" else array
    )
    run = Run(config.model_copy(update={"init_from": steep}), False)
    before = {name: value.clone() for name, value in run.learner.network.state_dict().items()}
    with run.log:
        loss, norm = make_step(run, [run.training_set.batch(run.selection.utterances[:2], 0)], 0.01)
    assert np.isfinite(loss)
    assert not np.isfinite(norm)
    assert all(torch.equal(value, before[name]) for name, value in run.learner.network.state_dict().items())
    (row,) = log_rows(tmp_path / "run", "skipped")
    assert row["reason"] == "the gradient is not finite"
    assert row["skipped"] == ["train-00", "train-01"]


def test_a_skipped_step_leaves_the_statistics_of_batch_norm_alone(tmp_path, corpus):
    """The loss was skipped, but the forward pass had already put NaN into the running mean, for good."""
    run = Run(recipe(corpus, tmp_path), resume=False)
    good = run.training_set.batch(run.selection.utterances[:4], 0)
    bad = dataclasses.replace(good, features=good.features * np.float32(np.nan))
    with run.log:
        for batches, finite in (([good], True), ([good, bad], False), ([bad], False)):
            loss, _ = make_step(run, batches, 0.01)
            assert np.isfinite(loss) == finite
        assert all_finite(run.learner.network.state_dict())
        loss, _ = make_step(run, [good], 0.01)
    assert np.isfinite(loss)
    assert run.monitor.skipped == 0
    assert all_finite(run.learner.average.network.state_dict())
    assert [len(row["skipped"]) for row in log_rows(tmp_path, "skipped")] == [4, 4]


def test_no_more_than_max_skipped_steps_are_skipped(tmp_path, corpus):
    run = Run(recipe(corpus, tmp_path, train={"max_skipped": 1}), resume=False)
    good = run.training_set.batch(run.selection.utterances[:2], 0)
    bad = dataclasses.replace(good, features=good.features * np.float32(np.nan))
    with run.log:
        for batch in (bad, good, bad):  # not in a row
            make_step(run, [batch], 0.01)
        with pytest.raises(TrainingError, match="2 steps in a row"):
            make_step(run, [bad], 0.01)


def test_a_corpus_that_went_away_ends_the_run(tmp_path):
    """With its disk unmounted, a training ran through its epochs without a step and called it finished."""
    manifest = write_corpus(tmp_path, ["abc", "bcd", "cde"])
    config = recipe(
        manifest, tmp_path / "run", data={"batch_size": 1}, train={"epochs": 50, "max_skipped": 4}
    )
    train(config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 3})}))
    good = read_weights(tmp_path / "run" / "last")
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    with pytest.raises(TrainingError, match="none of its utterances can be used"):
        train(config)
    assert len(list_checkpoints(tmp_path / "run" / "checkpoints")) == 1
    kept = newest_state(tmp_path / "run")["average"]
    assert all(np.array_equal(kept[name].numpy(), array) for name, array in good.items())
