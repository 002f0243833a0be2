"""Training in MindSpore makes PyTorch's steps: the same losses, weights and files, and resumes."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from tones import log_rows, random_texts, raw_recipe, recipe, write_corpus, write_recipe

from jasper.bundle import read_weights, write_bundle
from jasper.errors import CheckpointError, ConfigError
from jasper.nn.weights import build_network, network_weights
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints, read_whole
from jasper.train.merge import average_models
from jasper.train.with_mindspore.scale import LossScale

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("train"), random_texts(12))


@pytest.fixture(scope="module")
def start(corpus, tmp_path_factory):
    """A model to start from, so that both engines begin with the same weights."""
    config = recipe(corpus, "unused").model
    torch.manual_seed(0)
    weights = network_weights(build_network(config))
    return write_bundle(tmp_path_factory.mktemp("start") / "model", config, weights)


def run(corpus, out, engine, **sections):
    """Train by one engine, on one thread; its losses, step by step."""
    train_section = {**sections.pop("train", {}), "engine": engine}
    config = recipe(corpus, out, train=train_section, **sections)
    train(config.model_copy(update={"train": config.train.model_copy(update={"threads": None})}))
    return [row["loss"] for row in log_rows(out, "loss")]


SETTINGS = {
    "adamw": {
        "optimizer": {"name": "adamw", "learning_rate": 0.003, "clip_norm": 1.0},
        "augment": {"speed": [0.9, 1.1], "freq_masks": 1, "freq_width": 4, "time_masks": 1},
    },
    "novograd": {
        "optimizer": {"name": "novograd", "learning_rate": 0.02, "betas": [0.9, 0.5]},
        "train": {"accumulation": 2},
    },
    "consistency": {
        "loss": {"consistency": 0.5},
        "augment": {"freq_masks": 1, "freq_width": 8, "time_masks": 2},
    },
    "rates": {
        "adapt": {"encoder_rate": 0.5, "rate_decay": 0.5},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
    },
    "frozen": {"adapt": {"freeze": [0, 1]}, "optimizer": {"name": "novograd", "learning_rate": 0.02}},
    "frozen norms": {"adapt": {"freeze": "encoder", "freeze_norm": True}},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_first_losses_are_pytorchs(corpus, start, tmp_path, kind):
    sections = SETTINGS[kind]
    steps = {"max_steps": 10, "epochs": 4, **sections.get("train", {})}
    sections = {**sections, "train": steps, "init_from": str(start)}
    ours = run(corpus, tmp_path / "ours", "mindspore", **sections)
    theirs = run(corpus, tmp_path / "theirs", "torch", **sections)
    assert len(ours) == len(theirs) == 10
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    # Averages and running statistics, too, after ten steps.
    one, other = (read_weights(tmp_path / name / "last") for name in ("ours", "theirs"))
    before = read_weights(start)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=5e-3, rtol=5e-3, err_msg=name)
        still = np.array_equal(other[name], before[name])
        assert np.array_equal(one[name], before[name]) == still, name


def test_a_training_learns_and_scores_on_dev_as_eval_does(corpus, start, tmp_path):
    """The same recipe reaches the same score with both engines: tones are learnt without an error."""
    found = {}
    for engine in ("mindspore", "torch"):
        sections = {"train": {"epochs": 60, "eval_epochs": 60}, "init_from": str(start)}
        run(corpus, tmp_path / engine, engine, data={"dev": [str(corpus)], "batch_size": 12}, **sections)
        (row,) = log_rows(tmp_path / engine, "dev_wer")
        found[engine] = row["dev_wer"]
    command = [sys.executable, "-m", "jasper", "eval", tmp_path / "mindspore", corpus, "--json"]
    done = subprocess.run(
        [*map(str, command), "--engine", "mindspore"], check=True, capture_output=True, text=True, timeout=300
    )
    assert json.loads(done.stdout)["wer"] == pytest.approx(found["mindspore"])
    assert max(found.values()) < 0.2, found


def test_half_precision_takes_pytorchs_steps_under_the_same_scale(corpus, start, tmp_path):
    """The first scale is too large for both: they leave the same steps out until it fits."""
    settings = {"epochs": 5, "precision": "fp16"}
    found = {
        engine: run(corpus, tmp_path / engine, engine, train=settings, init_from=str(start))
        for engine in ("mindspore", "torch")
    }
    assert len(found["mindspore"]) == 30
    np.testing.assert_allclose(found["mindspore"][:6], found["torch"][:6], rtol=1e-3)
    np.testing.assert_allclose(found["mindspore"], found["torch"], rtol=0.1)
    assert found["mindspore"][-1] < found["mindspore"][0] / 2
    scale, good = newest(tmp_path / "mindspore")["scale"]
    theirs = newest(tmp_path / "torch")["scaler"]
    assert (scale, good) == (theirs["scale"], theirs["_growth_tracker"])
    assert scale < 65536


def newest(directory):
    return read_whole(list_checkpoints(directory / "checkpoints")[0])


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_scale_is_that_of_pytorchs_scaler(seed):
    ours, theirs, tracker = LossScale(enabled=True), torch.tensor(65536.0), torch.tensor(0, dtype=torch.int32)
    for finite in np.random.default_rng(seed).random(9000) < 0.9995:
        ours.update(bool(finite))
        torch._amp_update_scale_(theirs, tracker, torch.tensor(float(not finite)), 2.0, 0.5, 2000)
        assert ours.state() == [float(theirs), int(tracker)]
    again = LossScale(enabled=True)
    again.restore(json.loads(json.dumps(ours.state())))
    assert again.state() == ours.state()


def test_what_a_processor_cannot_compute_is_refused(corpus, tmp_path):
    with pytest.raises(ConfigError, match=r"train\.precision=bf16: MindSpore has it on Ascend cards alone"):
        run(corpus, tmp_path, "mindspore", train={"precision": "bf16"})


def dropped_out(sections):
    """The recipe with dropout and masks, whose random numbers must come again."""
    blocks = raw_recipe("", "")["network"]["blocks"]
    network = {"blocks": [{**block, "dropout": 0.2} for block in blocks]}
    return {
        **sections,
        "network": network,
        "augment": {"freq_masks": 1, "time_masks": 1, "speed": [0.9, 1.1]},
    }


def test_a_resumed_run_ends_as_one_that_was_never_stopped(corpus, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(corpus, whole, "mindspore", **dropped_out({"train": {"epochs": 2}}))
    run(corpus, stopped, "mindspore", **dropped_out({"train": {"epochs": 2, "max_steps": 5}}))
    run(corpus, stopped, "mindspore", **dropped_out({"train": {"epochs": 2}}))
    assert [row["step"] for row in log_rows(stopped, "loss")] == list(range(1, 13))
    one, other = read_weights(whole / "last"), read_weights(stopped / "last")
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_a_damaged_checkpoint_falls_back_to_the_one_before(corpus, tmp_path, capsys):
    run(corpus, tmp_path, "mindspore", train={"epochs": 2, "checkpoint_steps": 2, "max_steps": 6})
    newest = tmp_path / "checkpoints" / "step-000000006.npz"
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) // 2])
    run(corpus, tmp_path, "mindspore", train={"epochs": 2, "max_steps": 7})
    said = capsys.readouterr().err
    assert "falling back" in said
    assert "going on after step 4" in said


@pytest.mark.parametrize("kind", ["average", "network"])
def test_the_mean_of_a_runs_checkpoints(corpus, tmp_path, kind):
    """`jasper average` took them for PyTorch's and complained of every weight."""
    run(corpus, tmp_path / "run", "mindspore", train={"max_steps": 3, "checkpoint_steps": 1, "keep": 3})
    found = read_weights(average_models([tmp_path / "run"], tmp_path / "mean", last=2, kind=kind))
    states = [read_whole(path)[kind] for path in list_checkpoints(tmp_path / "run" / "checkpoints")[:2]]
    for name, value in found.items():
        np.testing.assert_allclose(value, (states[0][name] + states[1][name]) / 2, atol=1e-6, err_msg=name)


def test_another_engines_checkpoints_are_not_trained_over(corpus, tmp_path):
    run(corpus, tmp_path, "torch", train={"max_steps": 2})
    with pytest.raises(CheckpointError, match=r"is of another train\.engine"):
        run(corpus, tmp_path, "mindspore", train={"max_steps": 3})


@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"activation_checkpointing": True}},
        {"train": {"precision": "fp64"}},
        {"train": {"compile": True}},
    ],
)
def test_what_only_pytorch_does_is_refused(corpus, tmp_path, sections):
    with pytest.raises(ConfigError, match=r"is there with train\.engine=torch alone"):
        run(corpus, tmp_path, "mindspore", **sections)


def test_the_command_line_trains_without_pytorch(corpus, tmp_path):
    config = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "out", data={"num_workers": 2})
    words = ["jasper", "train", str(config), "engine=mindspore", "device=cpu", "train.max_steps=2"]
    code = (
        f"import sys; sys.argv = {words}\nfrom jasper.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=ENVIRONMENT)
    assert len(log_rows(tmp_path / "out", "loss")) == 2


def free_port():
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def run_group(command, logs):
    """Run a launcher to its end; none of its processes outlives the test."""
    environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        [*map(str, command)], env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        code = process.wait(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, "".join(path.read_text()[-3000:] for path in logs.glob("worker_*.log"))


def test_two_processes_of_msrun_make_the_steps_of_one(corpus, start, tmp_path):
    """Twice the ranks are twice the accumulation; MindSpore's own launcher and its own sums on CPUs."""
    sections = {"init_from": str(start), "train": {"accumulation": 2, "max_steps": 4, "engine": "mindspore"}}
    alone = write_recipe(tmp_path / "alone.yaml", corpus, tmp_path / "alone", **sections)
    sections["train"]["accumulation"] = 1
    together = write_recipe(tmp_path / "together.yaml", corpus, tmp_path / "together", **sections)
    subprocess.run([sys.executable, "-m", "jasper", "train", str(alone)], check=True, timeout=300)
    launcher = [Path(sys.executable).with_name("msrun"), "--worker_num=2", "--local_worker_num=2"]
    launcher += [f"--log_dir={tmp_path / 'logs'}", "--join=True", f"--master_port={free_port()}"]
    script = tmp_path / "jasper_command.py"
    script.write_text("from jasper.cli import main\nmain()\n")
    run_group([*launcher, script, "train", together], tmp_path / "logs")
    losses = [[row["loss"] for row in log_rows(tmp_path / name, "loss")] for name in ("alone", "together")]
    assert len(losses[0]) == 4
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    one, other = (read_weights(tmp_path / name / "last") for name in ("alone", "together"))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-4, err_msg=name)
