"""What breaks under a training, with real files: disks, manifests and recordings; nothing done is lost."""

import contextlib
import subprocess

import pytest
from tones import (
    Command,
    assert_fault,
    assert_same_run,
    log_rows,
    newest_state,
    random_texts,
    recipe,
    run_jasper,
    temporary_files,
    write_corpus,
    write_recipe,
)

from jasper.train import train


def shell(*words):
    return subprocess.run([*map(str, words)], capture_output=True).returncode == 0


def test_a_read_only_disk(tmp_path, corpus):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shell("mount", "-t", "tmpfs", "-o", "size=8m", "none", disk):
        pytest.skip("file systems cannot be mounted here, and root may write to every directory")
    try:
        run = disk / "run"
        file = write_recipe(tmp_path / "recipe.yaml", corpus, run)
        for steps in (2, 4):  # once without a run directory, once with
            assert shell("mount", "-o", "remount,ro", disk)
            assert_fault(run_jasper("train", file), run, "cannot be written", "Read-only file system")
            assert shell("mount", "-o", "remount,rw", disk)
            assert run_jasper("train", file, f"train.max_steps={steps}").code == 0
        assert newest_state(run)["step"] == 4
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def frozen():
    """A function that makes a directory one that even root cannot write to, and one that undoes it."""
    folders = []

    def freeze(folder):
        if not shell("chattr", "+i", folder):
            pytest.skip("directories cannot be made immutable here, and root may write to all others")
        folders.append(folder)

    def thaw():
        while folders:
            shell("chattr", "-i", folders.pop())

    yield freeze, thaw
    thaw()


def test_a_directory_that_can_no_longer_be_written_to(tmp_path, corpus, frozen):
    freeze, thaw = frozen
    run, settings = tmp_path / "run", {"epochs": 30, "eval_epochs": 3}
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, train=settings)
    command = Command("train", file)
    command.wait_for(lambda: len(log_rows(run, "loss")) > 20)
    freeze(run / "checkpoints")
    finished = command.finish()
    assert_fault(finished, run / "checkpoints", "could not be written", "Operation not permitted")
    kept = newest_state(run)["step"]
    assert kept > 0
    thaw()
    assert f"going on after step {kept}" in run_jasper("train", file).stderr
    train(recipe(corpus, tmp_path / "undisturbed", train=settings))
    assert_same_run(run, tmp_path / "undisturbed")
    assert not temporary_files(run)


def test_a_manifest_that_vanishes(tmp_path):
    manifest = write_corpus(tmp_path, random_texts(6))
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", manifest, run)
    assert run_jasper("train", file, "train.max_steps=4").code == 0
    away = manifest.rename(tmp_path / "away")
    assert_fault(run_jasper("train", file), f"{manifest}: cannot be read: No such file or directory")
    assert newest_state(run)["step"] == 4
    away.rename(manifest)
    assert run_jasper("train", file).code == 0
    train(recipe(manifest, tmp_path / "undisturbed"))
    assert_same_run(run, tmp_path / "undisturbed")


@pytest.fixture
def files(tmp_path):
    """A corpus of six, to be damaged: its manifest and its files."""
    manifest = write_corpus(tmp_path, random_texts(6))
    return manifest, [tmp_path / f"train-{index:02d}.wav" for index in range(6)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_recordings_that_vanish_or_are_corrupt_are_named_and_left_out(tmp_path, files, num_workers):
    manifest, waves = files
    waves[0].unlink()
    waves[1].write_bytes(b"RIFF and then nothing")
    waves[2].write_bytes(waves[2].read_bytes()[:1000])
    waves[3].write_bytes(b"")
    run = tmp_path / "run"
    settings = {"data": {"num_workers": num_workers}, "train": {"epochs": 2}}
    finished = run_jasper("train", write_recipe(tmp_path / "recipe.yaml", manifest, run, **settings))
    assert finished.code == 0
    faults = [row["fault"] for row in log_rows(run, "fault")]
    assert len(faults) == 2 * 4
    for wave in waves[:4]:
        assert sum(f"{wave.stem}: {wave}: " in fault for fault in faults) == 2
        assert f": {wave.stem}: {wave}: " in finished.stderr
    assert "times an utterance was left out" in finished.stderr


def test_where_a_corpus_must_be_whole_the_steps_before_the_fault_are_kept(tmp_path, files):
    manifest, waves = files
    sections = {"data": {"on_error": "stop", "batch_size": 1}, "train": {"epochs": 2, "eval_epochs": 100}}
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", manifest, run, **sections)
    whole = waves[4].read_bytes()
    waves[4].write_bytes(b"RIFF and then nothing")
    assert_fault(run_jasper("train", file), "train-04", waves[4], "data.on_error=skip")
    with contextlib.suppress(IndexError):
        assert newest_state(run)["step"] == len(log_rows(run, "loss"))
    waves[4].write_bytes(whole)
    assert run_jasper("train", file).code == 0
    train(recipe(manifest, tmp_path / "undisturbed", **sections))
    assert_same_run(run, tmp_path / "undisturbed")
