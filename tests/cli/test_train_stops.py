"""Whatever stops `jasper train` costs one line and no work: Ctrl-C, a full disk, damaged checkpoints."""

import os
import shlex
import signal
import subprocess
import time

import pytest
from tones import (
    JASPER,
    assert_fault,
    assert_same_run,
    log_rows,
    newest_state,
    recipe,
    run_jasper,
    temporary_files,
    write_recipe,
)

from jasper.train import train
from jasper.train.checkpoint import list_checkpoints


def contents(run):
    """Every model and every checkpoint of a run, to the byte."""
    files = [*run.glob("checkpoints/*"), *run.glob("best/*"), *run.glob("last/*")]
    return {file: file.read_bytes() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)],
    ids=["SIGINT", "SIGTERM", "SIGUSR1"],
)
def test_a_stop_in_mid_epoch_and_the_line_that_it_prints_goes_on(tmp_path, corpus, number, code):
    sections = {"data": {"batch_size": 1, "num_workers": 2, "dev": [str(corpus)]}}
    settings = {"epochs": 8, "eval_epochs": 100}
    train(recipe(corpus, tmp_path / "undisturbed", **sections, train=settings))
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "a recipe.yaml", corpus, run, **sections, train=settings)
    command = [str(JASPER), "train", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (run / "log.jsonl").exists() or len(log_rows(run, "loss")) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)  # as a terminal and a scheduler do: to the workers too
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in said
    line = said.splitlines()[-1]
    assert (
        line == f"jasper: stopped; to go on: jasper train {shlex.quote(str(file))} (from the last checkpoint)"
    )
    step = newest_state(run)["step"]
    assert 5 <= step < 96
    assert step == log_rows(run, "loss")[-1]["step"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0
    assert f"going on after step {step}" in finished.stderr
    assert_same_run(run, tmp_path / "undisturbed")


def test_a_checkpoint_that_does_not_fit_on_the_disk(tmp_path, corpus):
    run = tmp_path / "run"
    train(recipe(corpus, run, train={"max_steps": 6}))
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run)
    before = contents(run)
    room = list_checkpoints(run / "checkpoints")[0].stat().st_size // 2
    finished = run_jasper("train", file, file_size=room)
    assert_fault(finished, run / "checkpoints" / "step-000000012.pt", "could not be written")
    assert contents(run) == before
    assert not temporary_files(run)
    assert run_jasper("train", file).code == 0
    train(recipe(corpus, tmp_path / "undisturbed"))
    assert_same_run(run, tmp_path / "undisturbed")


def test_a_log_that_does_not_fit_on_the_disk_is_kept(tmp_path, corpus):
    """The log was cut to nothing before its rows were written again, and the user saw a traceback."""
    run = tmp_path / "run"
    train(recipe(corpus, run, train={"epochs": 10, "max_steps": 50}))
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, train={"epochs": 10})
    log = (run / "log.jsonl").read_text()
    finished = run_jasper("train", file, file_size=len(log) // 2)
    assert_fault(finished, run / "log.jsonl", "could not be written")
    assert (run / "log.jsonl").read_text() == log
    assert not temporary_files(run)


def test_a_log_row_that_does_not_fit_on_the_disk(tmp_path, corpus):
    run = tmp_path / "run"
    train(recipe(corpus, run, train={"epochs": 60, "max_steps": 300}))
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, train={"epochs": 60})
    before = contents(run)
    finished = run_jasper("train", file, file_size=(run / "log.jsonl").stat().st_size + 300)
    assert_fault(finished, run / "log.jsonl", "could not be written: File too large")
    assert contents(run) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("file systems cannot be mounted here; the tests above limit the size of files instead")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [30_000, 0], ids=["a little", "nothing"])
def test_a_disk_that_is_really_full(small_disk, tmp_path, corpus, left):
    run = small_disk / "run"
    train(recipe(corpus, run, train={"max_steps": 6, "keep": 2}))
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, train={"keep": 2})
    before = contents(run)
    filler = small_disk / "filler"
    with filler.open("wb") as other:
        disk = os.statvfs(small_disk)
        other.write(bytes(max(0, disk.f_bavail * disk.f_frsize - left)))
    finished = run_jasper("train", file)
    assert_fault(finished, run)
    assert contents(run) == before
    assert not temporary_files(run)
    filler.unlink()
    assert run_jasper("train", file, "train.max_steps=7").code == 0
    assert newest_state(run)["step"] == 7


def test_only_damaged_checkpoints(tmp_path, corpus):
    run = tmp_path / "run"
    train(recipe(corpus, run, train={"epochs": 1}))
    for path in list_checkpoints(run / "checkpoints"):
        path.write_bytes(b"PK\3\4 and then nothing")
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run)
    finished = run_jasper("train", file)
    assert_fault(finished, run / "checkpoints", "none of 1 checkpoints can be read", "remove them")
    assert run_jasper("train", file, "train.epochs=1", "--fresh").code == 0
