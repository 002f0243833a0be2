"""`jasper train` killed by SIGKILL twenty times, checkpoint writing included: nothing differs."""

import contextlib
import random
import signal
import time
from pathlib import Path

import pytest
from tones import (
    Command,
    assert_same_run,
    everything_random,
    log_rows,
    recipe,
    run_jasper,
    temporary_files,
    write_corpus,
    write_recipe,
)

from jasper.bundle import read_weights
from jasper.train import train

AT_RANDOM, IN_A_CHECKPOINT = 12, 8
LONGEST_S = 0.9  # from the start of a process to its kill: some fall into its start, some into a step
EPOCHS, STEPS = 80, 480


def running(worker):
    """Whether a process is there and has not ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill(command, run, at_random):
    """Kill a training after a while or while it writes a checkpoint; whether it was writing one."""
    if at_random is None:
        command.wait_for(lambda: list(run.glob("checkpoints/.*.tmp")))
    else:
        time.sleep(at_random)
    workers = []
    with contextlib.suppress(OSError):
        workers = command.workers()
    command.process.kill()
    finished = command.finish()
    assert finished.code == -signal.SIGKILL, finished.stderr
    deadline = time.monotonic() + 10
    while any(map(running, workers)):
        assert time.monotonic() < deadline, "a worker outlived its training"
        time.sleep(0.01)
    return bool(list(run.glob("checkpoints/.*.tmp")))


@pytest.mark.slow
def test_twenty_kills(tmp_path, corpus):
    noise = write_corpus(tmp_path, ["ebe", "dada"], "noise")
    sections = {
        **everything_random(noise),
        "data": {"dev": [str(corpus)], "num_workers": 2},
        "train": {"epochs": EPOCHS, "eval_epochs": 20, "checkpoint_steps": 1, "ema": 0.95},
    }
    undisturbed, run, chance = tmp_path / "undisturbed", tmp_path / "run", random.Random(0)
    assert train(recipe(corpus, undisturbed, **sections)).step == STEPS
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections)
    moments = [chance.uniform(0, LONGEST_S) for _ in range(AT_RANDOM)] + [None] * IN_A_CHECKPOINT
    chance.shuffle(moments)
    torn = sum(kill(Command("train", file), run, moment) for moment in moments)
    assert torn >= IN_A_CHECKPOINT // 2  # between seeing the file and the kill it may be complete
    finished = run_jasper("train", file)
    assert finished.code == 0, finished.stderr
    assert "going on after step" in finished.stderr
    assert "damaged" not in finished.stderr
    assert_same_run(run, undisturbed)
    for name in ("best", "last"):
        ours, theirs = read_weights(run / name), read_weights(undisturbed / name)
        assert all((ours[key] == theirs[key]).all() for key in ours.keys() | theirs.keys())
    for key in ("loss", "dev_wer"):
        ours, theirs = log_rows(run, key), log_rows(undisturbed, key)
        assert [{**row, "time": 0} for row in ours] == [{**row, "time": 0} for row in theirs]
    assert not temporary_files(run)
