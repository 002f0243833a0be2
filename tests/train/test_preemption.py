"""SIGTERM and SIGUSR1 at the worst moments: training leaves in bounded time and loses nothing."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tones import (
    Command,
    assert_same_run,
    log_rows,
    newest_state,
    recipe,
    repeated,
    run_jasper,
    temporary_files,
    write_recipe,
)

from jasper.train import train

BOUND_S = 8.0  # a step and a checkpoint of these networks take 0.1; the rest is for a busy machine


def leaves(command, number):
    """Signal the command; its `Finished`, and how long it took to end."""
    begin = time.monotonic()
    command.send(number)
    finished = command.finish()
    return finished, time.monotonic() - begin


@pytest.fixture
def long_dev(dev):
    """The 8 dev utterances 150 times over: a second or more of scoring."""
    return repeated(dev, 150)


def test_a_stop_while_dev_is_scored(tmp_path, corpus, long_dev):
    """Training went on scoring for as long as dev took, and the scheduler's SIGKILL came first."""
    sections = {"data": {"dev": [str(long_dev)]}, "train": {"epochs": 2}}
    train(recipe(corpus, tmp_path / "undisturbed", **sections))
    scored, trained = (
        log_rows(tmp_path / "undisturbed", "dev_wer"),
        log_rows(tmp_path / "undisturbed", "loss"),
    )
    duration = scored[0]["time"] - trained[5]["time"]
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections)
    command = Command("train", file)
    command.wait_for(lambda: len(log_rows(run, "loss")) == 6)
    time.sleep(duration / 4)
    finished, seconds = leaves(command, signal.SIGUSR1)
    assert finished.code == 138
    assert seconds < BOUND_S
    assert newest_state(run)["step"] == 6
    assert not log_rows(run, "dev_wer")
    assert not (run / "best").exists()
    assert run_jasper("train", file).code == 0
    assert_same_run(run, tmp_path / "undisturbed")
    for key in ("dev_wer", "hypothesis", "loss"):
        ours, theirs = log_rows(run, key), log_rows(tmp_path / "undisturbed", key)
        assert [{**row, "time": 0} for row in ours] == [{**row, "time": 0} for row in theirs]


def test_a_stop_while_the_loader_waits_for_a_disk_that_hangs(tmp_path, corpus):
    sections = {"data": {"num_workers": 2}, "train": {"epochs": 9}}
    train(recipe(corpus, tmp_path / "undisturbed", **sections))
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections)
    command = Command("train", file)
    command.wait_for(lambda: log_rows(run, "loss") and len(command.workers()) == 2)
    workers = command.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    done = None
    while done != (done := len(log_rows(run, "loss"))):
        time.sleep(1)
    finished, seconds = leaves(command, signal.SIGTERM)
    assert finished.code == 143
    assert seconds < BOUND_S
    # On a slow machine the step that was under way comes to its end.
    assert newest_state(run)["step"] == len(log_rows(run, "loss"))
    assert newest_state(run)["step"] in (done, done + 1)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert run_jasper("train", file).code == 0
    assert_same_run(run, tmp_path / "undisturbed")
    assert not temporary_files(run)


def test_a_dev_recording_that_cannot_be_read_costs_no_step(tmp_path, corpus, long_dev):
    """It was found at the first score on dev, and the epoch before it was lost."""
    broken = long_dev.with_name("broken.wav")
    rows = long_dev.read_text().splitlines()
    row = {**json.loads(rows[0]), "audio_filepath": "broken.wav", "id": "broken"}
    broken_dev = long_dev.with_name("broken.jsonl")
    broken_dev.write_text("\n".join([*rows[:8], json.dumps(row)]))
    broken.write_bytes(b"RIFF and then nothing")
    sections = {"data": {"dev": [str(broken_dev)]}, "train": {"epochs": 2}}
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, **sections)
    finished = run_jasper("train", file)
    assert finished.code == 2
    assert str(broken) in finished.faults[0]
    assert newest_state(run)["step"] == 6
    broken.write_bytes((long_dev.parent / "dev-00.wav").read_bytes())
    assert "going on after step 6" in run_jasper("train", file).stderr
    train(recipe(corpus, tmp_path / "undisturbed", **sections))
    assert_same_run(run, tmp_path / "undisturbed")
