"""Training from shards is training from the manifest, and says what a damaged shard costs."""

import pytest
import yaml
from tones import assert_fault, assert_same_run, everything_random, log_rows, raw_recipe, recipe, run_jasper

from jasper.data.manifest import read_manifest
from jasper.data.shards import ShardOptions, write_shards
from jasper.train import loop, train


@pytest.fixture
def index(corpus, tmp_path):
    return write_shards(read_manifest(corpus), tmp_path / "shards", ShardOptions(num_shards=3))


def test_the_same_weights_as_from_the_manifest(corpus, index, tmp_path):
    sections = everything_random(corpus)
    train(recipe(corpus, tmp_path / "plain", **sections))
    train(recipe(index, tmp_path / "sharded", **sections))
    assert_same_run(tmp_path / "plain", tmp_path / "sharded")


def test_a_shard_that_is_cut_off_while_training_runs(index, tmp_path, monkeypatch):
    """Found by the reader, not at the start: the members past the cut are named."""
    cut = sorted((tmp_path / "shards").glob("*.tar"))[1]
    data = cut.read_bytes()

    def steps(*arguments):
        cut.write_bytes(data[:700])
        return original(*arguments)

    original = loop.train_step
    monkeypatch.setattr(loop, "train_step", steps)
    train(recipe(index, tmp_path / "run", data={"batch_size": 1}, train={"epochs": 2}))
    faults = [row["fault"] for row in log_rows(tmp_path / "run", "fault")]
    assert faults
    assert all(f"{cut}, member at byte" in fault for fault in faults)


def test_a_truncated_shard_on_the_command_line(index, tmp_path):
    cut = sorted((tmp_path / "shards").glob("*.tar"))[2]
    cut.write_bytes(cut.read_bytes()[:600])
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe(index, tmp_path / "run", train={"epochs": 1})))
    finished = run_jasper("train", file)
    assert finished.code == 0
    assert "in a damaged shard" in finished.stderr
    assert f"{cut}: damaged: 600 bytes" in finished.stderr
    assert_fault(run_jasper("train", file, "data.on_error=stop"), f"{cut}: damaged: 600 bytes")
