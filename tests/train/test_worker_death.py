"""A data worker that is killed, as when memory runs out: it is named, replaced, and nothing differs."""

import contextlib
import os
import random
import signal
import time

from tones import Command, assert_fault, assert_same_run, log_rows, recipe, repeated, run_jasper, write_recipe

from jasper.train import train


def kill(worker):
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)


def test_training_goes_on_with_new_workers_and_ends_in_the_same_weights(tmp_path, corpus):
    """PyTorch raised in the middle of a step, and hung where the worker had handed over half a batch."""
    corpus = repeated(corpus, 10)
    sections = {"data": {"num_workers": 2}, "train": {"epochs": 2}}
    train(recipe(corpus, tmp_path / "undisturbed", **sections))
    run, chance = tmp_path / "run", random.Random(0)
    command = Command("train", write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections))
    killed = []
    for step in (5, 15, 25, 65, 75):
        command.wait_for(lambda step=step: len(log_rows(run, "loss")) >= step)
        command.wait_for(lambda: len(command.workers()) == 2)
        worker = chance.choice(command.workers())
        time.sleep(chance.uniform(0, 0.05))
        kill(worker)
        killed.append(worker)
    finished = command.finish()
    assert finished.code == 0, finished.stderr
    named = [pid for pid in killed if f"data worker {pid} was killed by SIGKILL" in finished.stderr]
    assert len(named) >= 3, finished.stderr  # not all: one that had made its last batch is not missed
    assert_same_run(run, tmp_path / "undisturbed")


def test_workers_that_die_again_and_again_end_the_run_and_the_steps_done_are_kept(tmp_path, corpus):
    sections = {"data": {"num_workers": 1}, "train": {"epochs": 25, "eval_epochs": 100}}
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections)
    command = Command("train", file)
    command.wait_for(lambda: len(log_rows(run, "loss")) >= 3)
    while command.process.is_alive():
        with contextlib.suppress(OSError):
            for worker in command.workers():
                kill(worker)
        time.sleep(0.001)
    finished = command.finish()
    assert_fault(
        finished, "was killed by SIGKILL", "3 times before the same step", "data.num_workers", "train-"
    )
    done = log_rows(run, "loss")[-1]["step"]
    assert f"going on after step {done}" in run_jasper("train", file, f"train.max_steps={done + 2}").stderr
