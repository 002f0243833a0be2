"""Averaged models: the plain mean of what the files hold, and nothing that is not alike."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tones import LABELS, assert_fault, log_rows, recipe, run_jasper

import jasper
from jasper.bundle import read_model_config
from jasper.errors import CheckpointError, ConfigError, ModelError
from jasper.model import load
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus, dev):
    """A run with a checkpoint every other step, some of them scored on dev."""
    out = tmp_path_factory.mktemp("merge") / "run"
    settings = {"epochs": 3, "checkpoint_steps": 2, "eval_epochs": 1, "keep": 20}
    data = {"dev": [str(dev)], "batch_size": 4}
    train(recipe(corpus, out, data=data, optimizer={"learning_rate": 0.03}, train=settings))
    assert [path.name[5:-3] for path in list_checkpoints(out / "checkpoints")] == [
        f"{step:09d}" for step in (9, 8, 6, 4, 3, 2)
    ]
    return out


def states(run, steps, kind):
    paths = (run / "checkpoints" / f"step-{step:09d}.pt" for step in steps)
    return [torch.load(path, weights_only=True)[kind] for path in paths]


def assert_mean(directory, states):
    """The weights of a model directory are the mean of state dicts, batch norm's statistics with them."""
    weights = load_file(directory / "model.safetensors")
    assert weights.keys() == {name for name in states[0] if not name.endswith("num_batches_tracked")}
    assert any("running_var" in name for name in weights)
    for name, value in weights.items():
        mean = sum(state[name].double().numpy() for state in states) / len(states)
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, mean.astype(np.float32), err_msg=name)


@pytest.mark.parametrize(
    ("options", "steps", "kind"),
    [
        ([], (2, 3, 4, 6, 8, 9), "average"),
        (["--last", "3"], (6, 8, 9), "average"),
        (["--last", "2", "--no-ema"], (8, 9), "network"),
    ],
)
def test_the_mean_of_a_runs_checkpoints(tmp_path, run, options, steps, kind):
    finished = run_jasper("average", run, "--out", tmp_path / "mean", *options)
    assert finished.code == 0, finished.stderr
    assert finished.stdout.strip() == str(tmp_path / "mean")
    assert_mean(tmp_path / "mean", states(run, steps, kind))
    assert load(tmp_path / "mean").config == read_model_config(run / "last")


def test_the_best_are_those_of_lowest_dev_wer(tmp_path, run):
    scores = {row["step"]: row["dev_wer"] for row in log_rows(run, "dev_wer")}
    assert len(set(scores.values())) == len(scores) == 3  # or the test would tell little
    best = sorted(scores, key=scores.get)[:2]
    jasper.average_models([run], tmp_path / "mean", best=2)
    assert_mean(tmp_path / "mean", states(run, best, "average"))


def test_checkpoint_files_and_model_directories_count_alike(tmp_path, run):
    """`last` is the average of step 9 already."""
    checkpoint = run / "checkpoints" / "step-000000002.pt"
    jasper.average_models([run / "last", checkpoint], tmp_path / "mean")
    assert_mean(tmp_path / "mean", states(run, (9, 2), "average"))


def test_more_checkpoints_than_there_are(tmp_path, run):
    with pytest.raises(
        ConfigError, match=r"4 checkpoints with a dev WER are wanted, there are 3; train\.keep"
    ):
        jasper.average_models([run], tmp_path / "mean", best=4)
    fault = run_jasper("average", run, "--out", tmp_path / "mean", "--last", "7")
    assert_fault(fault, "7 checkpoints are wanted, there are 6")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"network": {"blocks": [{"filters": 24, "kernel": 5, "stride": 2}]}},
            "filters of block 0 is 24, not 16",
        ),
        (
            {"text": {"labels": LABELS, "subwords": {"algorithm": "bpe", "scores": [0.0] * len(LABELS)}}},
            "its text is not cut into subwords as in",
        ),
        ({"text": {"labels": LABELS[::-1]}}, "its labels are 'edcba ', not ' abcde'"),
        ({"features": {"log_offset": 1e-3}}, "features.log_offset is 0.001, not"),
    ],
)
def test_what_is_not_alike_is_refused(tmp_path, corpus, run, sections, message):
    other = train(recipe(corpus, tmp_path / "other", **sections, train={"max_steps": 1})).directory
    with pytest.raises(ModelError, match=message):
        jasper.average_models([run, other], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_damaged_checkpoint_is_an_error(tmp_path, run):
    other = tmp_path / "run"
    (other / "checkpoints").mkdir(parents=True)
    (other / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    content = list_checkpoints(run / "checkpoints")[0].read_bytes()
    path = other / "checkpoints" / "step-000000001.pt"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"step-000000001[.]pt is damaged"):
        jasper.average_models([other], tmp_path / "mean")
    with pytest.raises(ModelError, match="is not a directory"):
        jasper.average_models([tmp_path / "nowhere"], tmp_path / "mean")
