"""Several ranks take the step that one takes, end together, and none of them is left waiting."""

import dataclasses
import os
import signal
import time
from datetime import timedelta

import numpy as np
import pytest
import torch
from together import finish, start, train_on
from tones import (
    assert_same_run,
    everything_random,
    log_rows,
    make_step,
    newest_state,
    random_texts,
    recipe,
    write_corpus,
)

from jasper.errors import AudioError, ConfigError, RankError
from jasper.train import ranks as ranks_module
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints
from jasper.train.ranks import start_ranks
from jasper.train.run import Run


def assert_close_states(one, other, where="state"):
    """Equal within 1e-6 of the largest value of each tensor; whole numbers are equal."""
    if isinstance(one, torch.Tensor):
        scale = max(1e-6, float(other.abs().max())) if other.numel() else 1.0
        assert one.shape == other.shape, where
        assert torch.allclose(one.double(), other.double(), rtol=0, atol=1e-6 * scale), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_close_states(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_close_states(*pair, f"{where}.{index}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6), where
    else:
        assert one == other, where


@pytest.mark.parametrize("optimizer", ["adamw", "novograd"])
@pytest.mark.parametrize("size", [2, 3])
def test_a_step_over_ranks_is_that_of_one_with_as_many_batches(tmp_path, corpus, dev, noise, size, optimizer):
    """Weights, average, optimizer and batch norm's statistics, with dropout, noise and masks."""
    (tmp_path / "broken").mkdir()
    manifest = write_corpus(tmp_path / "broken", ["abc", "bcd", "cdea", "de"], "broken")
    (tmp_path / "broken" / "broken-01.wav").write_bytes(b"not audio")  # only the rank that reads it will know

    def config(name, accumulation):
        return recipe(
            corpus,
            tmp_path / name,
            **everything_random(noise),
            data={"train": [str(corpus), str(manifest)], "dev": [str(dev)], "batch_size": 3},
            optimizer={"name": optimizer, "clip_norm": 20.0},
            train={"precision": "fp64", "accumulation": accumulation, "epochs": 4, "eval_epochs": 2},
        )

    train(config("alone", 2 * size))
    train_on(size, config("together", 2))
    alone, together = newest_state(tmp_path / "alone"), newest_state(tmp_path / "together")
    assert alone["network"]["head.weight"].dtype == torch.float64
    assert_close_states(together, alone)
    for key in ("loss", "grad_norm", "dev_loss"):
        one, other = ([row[key] for row in log_rows(tmp_path / name, key)] for name in ("alone", "together"))
        assert other == pytest.approx(one, rel=1e-6)
    for key in ("dev_wer", "dev_cer", "fault", "id", "step"):
        one, other = (
            # What a training takes is logged whenever some time has gone by.
            [row[key] for row in log_rows(tmp_path / name, key) if "memory_gib" not in row]
            for name in ("alone", "together")
        )
        assert one == other, key
    assert (
        len(log_rows(tmp_path / "together", "fault")) == 3
    )  # by whichever rank; in one epoch noise stood for it


def test_more_ranks_than_utterances(tmp_path):
    """A rank without a batch still has to take part, or the others wait for its gradients for ever."""
    manifest = write_corpus(tmp_path, ["abc", "bcd"])
    for name, size in (("alone", 1), ("together", 3)):
        settings = {"accumulation": 3 // size, "epochs": 2, "precision": "fp64"}
        config = recipe(manifest, tmp_path / name, train=settings)
        train_on(size, config) if size > 1 else train(config)
    assert_close_states(newest_state(tmp_path / "together"), newest_state(tmp_path / "alone"))


def _one_batch_is_nan(config):
    with start_ranks("cpu") as ranks:
        run = Run(config, False, ranks)
        before = {name: value.clone() for name, value in run.learner.network.state_dict().items()}
        two = run.selection.utterances[2 * ranks.rank : 2 * ranks.rank + 2]
        batch = run.training_set.batch(two, 0)
        bad = dataclasses.replace(batch, features=batch.features * np.float32(np.nan))
        with run.log:
            make_step(run, [bad if ranks.rank == 1 else batch], 0.01)
            assert all(torch.equal(value, before[n]) for n, value in run.learner.network.state_dict().items())
            make_step(run, [batch], 0.01)
            assert not torch.equal(run.learner.network.head.weight, before["head.weight"])


def test_a_batch_of_nan_on_one_rank_moves_none_and_is_named_by_the_first(tmp_path, corpus):
    codes, raised = finish(*start(2, _one_batch_is_nan, recipe(corpus, tmp_path)))
    assert codes == [0, 0], raised
    (row,) = log_rows(tmp_path, "skipped")
    assert row["skipped"] == ["train-02", "train-03"]
    assert row["reason"] == "the loss is not finite"


def wait_for_step(run, step, processes):
    until = time.monotonic() + 60
    while not any(row["step"] >= step for row in log_rows(run, "loss") if (run / "log.jsonl").exists()):
        assert time.monotonic() < until
        assert all(process.is_alive() for process in processes)
        time.sleep(0.01)


@pytest.fixture
def long_run(tmp_path, corpus):
    """A configuration of 60 steps on two ranks, with its log there already."""
    config = recipe(corpus, tmp_path / "run", train={"epochs": 20, "checkpoint_steps": 7})
    config.train.out.mkdir()
    (config.train.out / "log.jsonl").touch()
    return config


def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path, long_run):
    processes, errors = start(2, train, long_run)
    wait_for_step(tmp_path / "run", 10, processes)
    os.kill(processes[1].pid, signal.SIGTERM)
    codes, raised = finish(processes, errors)
    assert codes == [2, 2]
    assert all(issubclass(kind, KeyboardInterrupt) for kind, _ in raised.values())
    steps = [row["step"] for row in log_rows(tmp_path / "run", "loss")]
    assert newest_state(tmp_path / "run")["step"] == steps[-1] < 60
    train_on(2, long_run)
    train_on(
        2,
        long_run.model_copy(update={"train": long_run.train.model_copy(update={"out": tmp_path / "whole"})}),
    )
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_when_a_rank_is_killed_the_others_end_and_say_so(tmp_path, long_run):
    processes, errors = start(2, train, long_run)
    wait_for_step(tmp_path / "run", 10, processes)
    processes[1].kill()
    began = time.monotonic()
    codes, raised = finish(processes, errors)
    assert time.monotonic() - began < 20
    assert codes == [2, -signal.SIGKILL]
    kind, message = raised[0]
    assert kind is RankError
    assert "another rank has ended or does not answer" in message
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def test_a_fault_of_one_rank_ends_all(tmp_path, corpus):
    dev = write_corpus(tmp_path, random_texts(40, seed=2), "dev")  # two batches to score, one a rank
    (tmp_path / "dev-03.wav").write_bytes(b"not audio")
    codes, raised = finish(*start(2, train, recipe(corpus, tmp_path / "run", data={"dev": [str(dev)]})))
    assert codes == [2, 2]
    assert [kind for kind, _ in raised.values()] == [AudioError, AudioError]


def _one_sleeps():
    with start_ranks("cpu", timeout=timedelta(seconds=2)) as ranks:
        if ranks.rank == 1:
            time.sleep(30)
        ranks.sum([1.0])


def test_a_rank_that_does_not_answer_is_not_waited_for_for_ever():
    processes, errors = start(2, _one_sleeps)
    processes[0].join(20)
    assert processes[0].exitcode == 2
    processes[1].kill()
    _, raised = finish(processes, errors)
    assert raised[0][0] is RankError


def _other_manifests(config, others):
    train(others if os.environ["RANK"] == "1" else config)


def test_ranks_that_read_different_data_do_not_begin(tmp_path, corpus, dev):
    """A manifest that had not reached one machine: its ranks took batches of other utterances."""
    config, others = recipe(corpus, tmp_path / "run"), recipe(dev, tmp_path / "run")
    codes, raised = finish(*start(2, _other_manifests, config, others))
    assert codes == [2, 2]
    assert {kind for kind, _ in raised.values()} == {ConfigError}
    assert "12 utterances" in raised[0][1]
    assert "8 utterances" in raised[0][1]


def test_the_place_is_kept_when_the_number_of_ranks_changes(tmp_path, corpus):
    """4 of 6 steps are 2 of 3: what is left of the epoch is one, then whole epochs follow."""
    config = recipe(corpus, tmp_path, train={"checkpoint_steps": 1})
    train(config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 4})}))
    train_on(2, config)
    rows = log_rows(tmp_path, "loss")
    ends = [1 / 6, 2 / 6, 3 / 6, 4 / 6, 1, 4 / 3, 5 / 3, 2, 7 / 3, 8 / 3, 3]
    assert [row["epoch"] for row in rows] == pytest.approx(ends)
    assert [row["step"] for row in rows] == list(range(1, 12))


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("cuda", 1, "no cuda device for local rank 1: this machine has 1; start no more ranks"),
        ("cuda:0", 2, "every rank takes a device of its own, so give no number"),
        ("mps", 1, "mps cannot be used by several ranks"),
    ],
)
def test_a_rank_without_a_device_says_what_to_do(monkeypatch, device, count, message):
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranks_module, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=message), start_ranks(device):
        pass
