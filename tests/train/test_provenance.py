"""run.json says what a run was made of and with, and its directory alone repeats it."""

import json
import platform
import subprocess

import pytest
import torch
from tones import (
    Command,
    assert_fault,
    assert_same_run,
    everything_random,
    log_rows,
    recipe,
    run_jasper,
    write_corpus,
    write_recipe,
)

from jasper.errors import CheckpointError
from jasper.train import train
from jasper.train.provenance import changes


def starts(run):
    return json.loads((run / "run.json").read_text())["starts"]


def shell(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository to work in, with one commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "notes").write_text("one")
    shell("git", "init", "-q")
    shell("git", "add", "notes")
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")
    return folder


def test_an_entry_holds_what_repeats_the_run(tmp_path, corpus, dev, noise, checkout):
    sections = {**everything_random(noise), "data": {"dev": [str(dev)]}, "train": {"max_steps": 2, "seed": 7}}
    file = write_recipe(checkout / "recipe.yaml", corpus, tmp_path / "run", **sections)
    assert run_jasper("train", file, "train.log_steps=2").code == 0
    (entry,) = starts(tmp_path / "run")
    assert entry["command"] == ["jasper", "train", str(file), "train.log_steps=2"]
    assert entry["working_directory"] == str(checkout)
    assert entry["seed"] == entry["config"]["train"]["seed"] == 7
    assert set(entry["manifests"]) == {str(corpus), str(dev), str(noise)}
    for path, digest in entry["manifests"].items():
        assert digest["sha256"] == shell("sha256sum", path).split()[0]
        assert digest["lines"] == int(shell("wc", "-l", path).split()[0])
    revision = shell("git", "rev-parse", "HEAD").strip()
    assert entry["git"]["working_directory"] == {"revision": revision, "dirty": False}
    # What follows + is the build, which the name of the package need not have.
    assert entry["versions"]["torch"] in (torch.__version__, torch.__version__.partition("+")[0])
    assert entry["versions"]["python"] == platform.python_version()
    assert {"jasper-asr", "numpy", "soundfile", "libsndfile", "soxr"} <= entry["versions"].keys()
    assert entry["machine"]["host"] == platform.node()
    assert entry["machine"]["cores"] == int(shell("nproc"))
    assert (entry["first_step"], entry["last_step"], entry["outcome"]) == (1, 2, "finished")
    assert entry["started"] <= entry["ended"]


def test_its_configuration_alone_repeats_a_run_bit_for_bit(tmp_path, corpus, dev, noise):
    sections = {**everything_random(noise), "data": {"dev": [str(dev)]}}
    file = write_recipe(tmp_path / "recipe.yaml", corpus, tmp_path / "run", **sections)
    assert run_jasper("train", file, "train.seed=3", "optimizer.learning_rate=0.02").code == 0
    again = run_jasper("train", tmp_path / "run" / "config.yaml", f"train.out={tmp_path / 'again'}")
    assert again.code == 0
    assert_same_run(tmp_path / "run", tmp_path / "again")


def test_a_resumed_run_says_in_one_line_what_changed(tmp_path, checkout):
    manifest = write_corpus(tmp_path, ["abc", "bcd", "cde", "dea"])
    file, run = write_recipe(tmp_path / "recipe.yaml", manifest, tmp_path / "run"), tmp_path / "run"
    assert run_jasper("train", file, "train.max_steps=2").code == 0
    same = run_jasper("train", file, "train.max_steps=2")
    assert "changed" not in same.stderr
    manifest.write_text(manifest.read_text().replace("abc", "acb"))
    (checkout / "notes").write_text("two")
    finished = run_jasper("train", file, "train.epochs=2")
    (line,) = [line for line in finished.stderr.splitlines() if "changed" in line]
    assert line.startswith("changed since the start before: ")
    parts = line.removeprefix("changed since the start before: ").split("; ")
    assert "train.epochs 3 → 2" in parts
    assert "train.max_steps 2 → none" in parts
    assert "git.working_directory.dirty False → True" in parts
    assert any(part.startswith(f"manifests.{manifest}.sha256 ") for part in parts)
    assert len(parts) == 4
    (row,) = log_rows(run, "changed")
    assert row["changed"] == parts
    assert row["step"] == 2
    assert [entry["first_step"] for entry in starts(run)] == [1, 3, 3]


def test_another_version_is_a_change():
    now = {"versions": {"torch": "2.13.0"}, "git": {"package": None}, "manifests": {}, "config": {}}
    before = now | {"versions": {"torch": "2.12.0", "soxr": "1.1.0"}}
    assert changes(before, now) == ["torch 2.12.0 → 2.13.0", "soxr 1.1.0 → none"]
    assert changes(now, now) == []


def test_how_a_run_ended(tmp_path, corpus):
    """Killed, it has no end; then stopped by a signal; then ended by a fault."""
    run = tmp_path / "run"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, run, train={"epochs": 500, "eval_epochs": 500})
    for end in ("kill", "terminate"):
        command, begun = Command("train", file), len(log_rows(run, "loss"))
        command.wait_for(lambda begun=begun: len(log_rows(run, "loss")) > begun)
        getattr(command.process, end)()
        command.finish()
    assert run_jasper("train", file, "optimizer.learning_rate=1e30", "schedule.warmup_epochs=0").code == 2
    killed, stopped, failed = starts(run)
    assert "ended" not in killed
    assert stopped["outcome"] == "stopped by signal 15"
    assert failed["outcome"].startswith("failed: 11 steps in a row were skipped")
    assert failed["first_step"] == stopped["last_step"] + 1


def test_it_holds_no_secret(tmp_path, corpus, monkeypatch):
    secrets = {"SLURM_JWT": "s3cret-a", "AWS_SECRET_ACCESS_KEY": "s3cret-b", "HF_TOKEN": "s3cret-c"}
    for name, value in {**secrets, "SLURM_JOB_ID": "4711"}.items():
        monkeypatch.setenv(name, value)
    train(recipe(corpus, tmp_path, train={"max_steps": 1}))
    assert starts(tmp_path)[0]["environment"]["SLURM_JOB_ID"] == "4711"
    assert "s3cret" not in (tmp_path / "run.json").read_text()


def test_a_fresh_start_begins_a_file_of_its_own(tmp_path, corpus):
    for resume in (True, True, False):
        train(recipe(corpus, tmp_path, train={"max_steps": 1}), resume=resume)
    assert len(starts(tmp_path)) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path, corpus):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    file = write_recipe(tmp_path / "recipe.yaml", corpus, tmp_path / "run")
    assert_fault(run_jasper("train", file), tmp_path / "run" / "run.json", "cannot be read")
    with pytest.raises(CheckpointError):
        train(recipe(corpus, tmp_path / "run"))
