"""Training from shards is training from the manifest, and says what a damaged shard costs."""

import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from tones import assert_fault, assert_same_run, everything_random, log_rows, raw_recipe, recipe, run_jasper

from jasper.data.manifest import read_manifest
from jasper.data.shards import ShardOptions, write_shards
from jasper.errors import TrainingError
from jasper.train import train, with_torch


@pytest.fixture
def index(corpus, tmp_path):
    return write_shards(read_manifest(corpus), tmp_path / "shards", ShardOptions(num_shards=3))


def test_the_same_weights_as_from_the_manifest(corpus, index, tmp_path):
    sections = everything_random(corpus)
    train(recipe(corpus, tmp_path / "plain", **sections))
    train(recipe(index, tmp_path / "sharded", **sections))
    assert_same_run(tmp_path / "plain", tmp_path / "sharded")


class Store(SimpleHTTPRequestHandler):
    """An object store: files of a folder, whole or a range of their bytes; `server.asked` counts requests."""

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range")
        self.server.asked[self.path, wanted is not None] += 1
        first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *args):
        pass


@pytest.fixture
def store(index):
    """A server of the shards' folder, over HTTP."""

    def handler(*args):
        return Store(*args, directory=index.parent)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = Counter()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("cache", ["", "simplecache::"])
def test_shards_of_a_server_by_ranges_or_through_a_local_cache(corpus, index, store, tmp_path, cache):
    """In a process with workers of its own, as a training on a cluster's machine has them."""
    train(recipe(corpus, tmp_path / "plain", train={"epochs": 2}))
    url = f"{cache}http://127.0.0.1:{store.server_port}/{index.name}"
    raw = raw_recipe(url, tmp_path / "remote", train={"epochs": 2}, data={"num_workers": 2})
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw))
    finished = run_jasper("train", file)
    assert finished.code == 0, finished.stderr
    assert_same_run(tmp_path / "plain", tmp_path / "remote")
    by_range = {path: n for (path, is_range), n in store.asked.items() if is_range and path.endswith(".tar")}
    if cache:
        assert not by_range
    else:
        assert sum(by_range.values()) >= 24  # of every utterance in each epoch


@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_a_shard_that_is_cut_off_while_training_runs(index, tmp_path, monkeypatch, on_error):
    """Found by the reader, not at the start: the members past the cut are named."""
    cut = sorted((tmp_path / "shards").glob("*.tar"))[1]
    whole = cut.read_bytes()

    def steps(*arguments):
        cut.write_bytes(whole[:700])
        return original(*arguments)

    original = with_torch.train_step
    monkeypatch.setattr(with_torch, "train_step", steps)
    config = recipe(
        index, tmp_path / "run", data={"batch_size": 1, "on_error": on_error}, train={"epochs": 2}
    )
    if on_error == "stop":
        with pytest.raises(TrainingError, match=r"member at byte .*data\.on_error=skip would go on"):
            train(config)
        return
    train(config)
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
