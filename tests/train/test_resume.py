"""A run that was cut anywhere, in any way, ends in the weights of the run that was not."""

import os
import random
import signal
import time

import pytest
from tones import PROCESSES, assert_same_run, everything_random, log_rows, recipe, temporary_files

from jasper.bundle import read_weights
from jasper.errors import CheckpointError, ModelError
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints
from jasper.train.run import Run

OPTIMIZERS = {
    "novograd": {"name": "novograd", "learning_rate": 0.02, "clip_norm": 5.0},
    "adamw": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
}
STEPS = 9  # 12 utterances in batches of 2, 2 batches a step, 3 epochs


@pytest.fixture(scope="module")
def hard_recipe(corpus, dev, noise):
    """A function `(out, optimizer, num_workers, init_from, **train)` to a configuration with all random."""

    def make(out, optimizer="novograd", num_workers=0, init_from=None, **settings):
        return recipe(
            corpus,
            out,
            **everything_random(noise),
            init_from=init_from,
            data={"dev": [str(dev)], "num_workers": num_workers},
            optimizer=OPTIMIZERS[optimizer],
            train={"accumulation": 2, "ema": 0.95, **settings},
        )

    return make


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, hard_recipe):
    """The run of each optimizer from the first step to the last, without workers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name in OPTIMIZERS:
        assert train(hard_recipe(folder / name, name)).step == STEPS
    return folder


def losses(run):
    return [{**row, "time": 0} for row in log_rows(run, "loss")]


@pytest.mark.slow
def test_cut_after_any_step(tmp_path, hard_recipe, undisturbed):
    """The model zoo's resume restores weights alone: optimizer, average, place and rate begin anew."""
    for step in range(1, STEPS):
        run = tmp_path / str(step)
        assert train(hard_recipe(run, max_steps=step)).step == step
        assert train(hard_recipe(run)).step == STEPS
        assert_same_run(run, undisturbed / "novograd")
        assert losses(run) == losses(undisturbed / "novograd")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_cut_with_workers_reading_ahead(tmp_path, hard_recipe, undisturbed, optimizer):
    train(hard_recipe(tmp_path, optimizer, num_workers=2, max_steps=4))
    train(hard_recipe(tmp_path, optimizer, num_workers=2))
    assert_same_run(tmp_path, undisturbed / optimizer)


def test_cut_at_every_single_step(tmp_path, hard_recipe, undisturbed):
    for step in range(1, STEPS + 1):
        train(hard_recipe(tmp_path, "adamw", max_steps=step))
    assert_same_run(tmp_path, undisturbed / "adamw")
    assert losses(tmp_path) == losses(undisturbed / "adamw")


def test_a_finished_run_stays_as_it_is(tmp_path, hard_recipe, undisturbed):
    train(hard_recipe(tmp_path, "adamw"))
    written = list_checkpoints(tmp_path / "checkpoints")[0].stat().st_mtime_ns
    assert train(hard_recipe(tmp_path, "adamw")).step == STEPS
    assert list_checkpoints(tmp_path / "checkpoints")[0].stat().st_mtime_ns == written
    assert_same_run(tmp_path, undisturbed / "adamw")


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(
    tmp_path, hard_recipe, undisturbed, damage, capsys
):
    """NVIDIA's code begins at epoch 0 again when its last checkpoint is corrupt, though an older is good."""
    train(hard_recipe(tmp_path, checkpoint_steps=2, max_steps=6))
    newest, before = list_checkpoints(tmp_path / "checkpoints")[:2]
    raw = newest.read_bytes()
    middle = len(raw) // 2
    newest.write_bytes(raw[:middle] + (b"" if damage == "cut" else os.urandom(200) + raw[middle + 200 :]))
    capsys.readouterr()
    train(hard_recipe(tmp_path))
    said = capsys.readouterr().err
    assert f"{newest} is damaged" in said
    assert f"going on after step {int(before.stem.split('-')[1])}" in said
    assert_same_run(tmp_path, undisturbed / "novograd")


def test_when_every_checkpoint_is_damaged_nothing_is_overwritten(tmp_path, hard_recipe):
    train(hard_recipe(tmp_path, max_steps=5))
    for path in list_checkpoints(tmp_path / "checkpoints"):
        path.write_bytes(os.urandom(2000))
    with pytest.raises(CheckpointError, match="can be read; remove them to start anew"):
        train(hard_recipe(tmp_path))
    assert train(hard_recipe(tmp_path, max_steps=1), resume=False).step == 1


def killed(config, wait):
    """Train in another process and end it with SIGKILL after `wait(process)`; whether it still ran."""
    process = PROCESSES.Process(target=train, args=(config,))
    process.start()
    wait(process)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_random_moments_and_while_checkpoints_are_written(tmp_path, hard_recipe):
    settings = {"checkpoint_steps": 1, "epochs": 12}
    train(hard_recipe(tmp_path / "undisturbed", **settings))
    run, chance = tmp_path / "run", random.Random(0)
    config = hard_recipe(run, **settings)

    def while_writing(process):
        while process.is_alive() and not list(run.glob("checkpoints/.*.tmp")):
            time.sleep(0.0005)

    def at_random(process):
        process.join(chance.uniform(0.3, 0.8))

    assert all(killed(config, while_writing) for _ in range(3))
    for _ in range(3):
        killed(config, at_random)
    train(config)
    assert_same_run(run, tmp_path / "undisturbed")
    assert read_weights(run / "best").keys() == read_weights(run / "last").keys()
    assert not temporary_files(run)
    assert [row["step"] for row in log_rows(run, "loss")] == list(range(1, 37))


def test_a_kill_leaves_no_file_that_is_never_removed(tmp_path, hard_recipe):
    """Half-written checkpoints of killed processes stayed for good, a gigabyte each."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-000000003.pt.0badcafe.tmp").write_bytes(b"half")
    (tmp_path / ".best.0badcafe.tmp").mkdir()
    (tmp_path / ".best.0badcafe.tmp" / "model.safetensors").write_bytes(b"half")
    train(hard_recipe(tmp_path, max_steps=1))
    assert not temporary_files(tmp_path)


@pytest.mark.timeout(60)
def test_larger_batches_after_a_cut_go_on_with_the_next_epoch(tmp_path, corpus):
    """The epoch then had fewer steps than were done in it, and training looped over nothing for ever."""
    train(recipe(corpus, tmp_path, train={"max_steps": 5}))  # of 6 in the epoch
    larger = recipe(corpus, tmp_path, data={"batch_size": 4})
    assert train(larger).step == 5 + 2 * 3


def test_settings_that_changed_since_the_checkpoint_are_used(tmp_path, hard_recipe):
    """The checkpoint's betas and weight decay silently won over the configuration's."""
    train(hard_recipe(tmp_path, "adamw", max_steps=2))
    raw = hard_recipe(tmp_path, "adamw")
    optimizer = raw.optimizer.model_copy(update={"betas": (0.5, 0.6), "weight_decay": 0.07})
    run = Run(raw.model_copy(update={"optimizer": optimizer}), resume=True)
    with run.log:
        assert run.step == 2
    groups = run.learner.optimizer.param_groups
    assert [group["betas"] for group in groups] == [(0.5, 0.6)] * 2
    assert [group["weight_decay"] for group in groups] == [0.07, 0.0]


@pytest.mark.parametrize("other", [{"optimizer": "novograd"}, {"blocks": 3}])
def test_checkpoints_of_another_network_or_optimizer_are_refused(tmp_path, hard_recipe, other):
    train(hard_recipe(tmp_path, "adamw", max_steps=1))
    config = hard_recipe(tmp_path, other.get("optimizer", "adamw"))
    if "blocks" in other:
        network = config.network.model_copy(update={"blocks": config.network.blocks[:2]})
        config = config.model_copy(update={"network": network})
    with pytest.raises(CheckpointError, match=r"of another network or optimizer; choose another train\.out"):
        train(config)


def test_a_start_from_a_model_takes_its_weights_once(tmp_path, hard_recipe, undisturbed):
    """Resuming read the model again, and failed where the model had been moved in the meantime."""
    begin = undisturbed / "adamw"
    run = tmp_path / "run"
    config = hard_recipe(run, "adamw", init_from=str(begin), max_steps=1)
    fresh = Run(config, resume=False)
    with fresh.log:
        weights = read_weights(begin / "best")
        assert (fresh.learner.network.head.weight.detach().numpy() == weights["head.weight"]).all()
        assert (fresh.learner.average.network.head.weight.numpy() == weights["head.weight"]).all()
    with pytest.raises(ModelError, match="is not a directory"):
        train(hard_recipe(run, "adamw", init_from=str(tmp_path / "moved"), max_steps=2))
    train(config)
    assert train(hard_recipe(run, "adamw", init_from=str(tmp_path / "moved"), max_steps=2)).step == 2
