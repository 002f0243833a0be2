"""Public weights from a server that misbehaves, into a cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from foreign_models import CITRINET, SUBWORDS, assert_same_model, model_config, write_model

from jasper.convert import convert
from jasper.convert.nemo_yaml import NEMO_FIXED
from jasper.convert.public import PUBLIC, PublicModel
from jasper.convert.pull import pull
from jasper.directory import cache_folder
from jasper.errors import DownloadError, ModelError

COMMAND = Path(sys.executable).with_name("jasper")


class Server(ThreadingHTTPServer):
    """Serves one checkpoint, with ranges; `cuts` are the bytes after which the next answers break off."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts = content, list[int]()
        self.ranges = list[str | None]()
        self.url = f"http://127.0.0.1:{self.server_port}/files/model.nemo"
        self.sha256 = hashlib.sha256(content).hexdigest()

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        content = self.server.content
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cuts.pop(0) if self.server.cuts else None])

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_model(folder / "model", model_config(CITRINET, SUBWORDS, **NEMO_FIXED))


@pytest.fixture
def server(model, tmp_path, monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr("jasper.data.download.BACKOFF_S", 0.001)
    content = convert(model, tmp_path / "served.nemo").read_bytes()
    with Server(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        monkeypatch.setitem(PUBLIC, "test", PublicModel(server.url, "en", "none", "", server.sha256))
        yield server
        server.shutdown()
        thread.join()


def test_a_name_is_fetched_converted_and_cached(server, model, tmp_path):
    directory = pull("test", cache=tmp_path / "cache")
    assert_same_model(model, directory)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["test"]
    assert pull("test", cache=tmp_path / "cache") == directory
    assert server.ranges == [None]


def test_cut_connections_are_taken_up_where_they_broke(server, model, tmp_path):
    server.cuts = [1000, 5000]
    assert_same_model(model, pull("test", cache=tmp_path / "cache"))
    assert server.ranges == [None, "bytes=1000-", "bytes=6000-"]


def test_the_part_of_an_earlier_call_is_taken_up(server, model, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "test.download.part").write_bytes(server.content[:3000])
    assert_same_model(model, pull("test", cache=tmp_path / "cache"))
    assert server.ranges == ["bytes=3000-"]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    server.content = server.content[:-1] + b"x"
    with pytest.raises(DownloadError, match="sha256 is"):
        pull("test", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_address_is_pulled_with_and_without_a_checksum(server, model, tmp_path):
    first = pull(server.url, cache=tmp_path / "cache")
    second = pull(server.url, cache=tmp_path / "cache", sha256=server.sha256)
    assert first != second  # what was not verified does not pass for verified
    assert first.name.startswith("model-")
    for directory in (first, second):
        assert_same_model(model, directory)
    with pytest.raises(DownloadError, match="sha256 is"):
        pull(server.url, cache=tmp_path / "cache", sha256="0" * 64)


def test_a_file_that_cannot_be_converted_is_not_kept(server, tmp_path):
    """Or a bad download would be found in the cache for ever."""
    server.content = b"<html>Sign in</html>"
    with pytest.raises(ModelError, match="unknown kind"):
        pull(server.url, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match=r"'quartz' is neither.*quartznet15x5-de"):
        pull("quartz", cache=tmp_path)


def test_the_cache_is_where_the_desktop_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "jasper"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jasper"


def test_every_public_model_has_an_address_a_language_and_a_licence():
    for name, model in PUBLIC.items():
        assert urlsplit(model.url).scheme == "https", name
        assert Path(model.url).suffix in (".nemo", ".pt"), name
        assert len(model.language) == 2, name
        assert model.licence, name
        assert model.sha256 is None or len(model.sha256) == 64, name


def test_the_addresses_of_nemos_models_are_those_that_nemo_lists(nemo_python):
    """All but the Chinese QuartzNet, which its list has dropped and DeepLearningExamples fetches."""
    sources = nemo_python.parents[1].glob("lib/python3*/site-packages/nemo/collections/asr/models/ctc*.py")
    listed = "".join(path.read_text() for path in sources)
    missing = [name for name, model in PUBLIC.items() if f'location="{model.url}"' not in listed]
    assert missing == ["quartznet15x5-zh", "jasper10x5dr-nvidia", "quartznet15x5-nvidia"]


@pytest.mark.slow
def test_the_command_prints_the_directory_or_the_list(server, tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, "pull", *arguments], capture_output=True, text=True, check=False)

    done = run(server.url, "--cache", tmp_path / "cache", "--sha256", server.sha256)
    assert (done.returncode, done.stderr) == (0, "")
    assert (Path(done.stdout.strip()) / "model.safetensors").is_file()
    listed = run("--json")
    assert listed.returncode == 0
    assert '"quartznet15x5-en"' in listed.stdout
    table = run().stdout  # of 80 columns, which names that are to be typed must not lack
    assert [name for name in PUBLIC if f" {name} " not in table] == []
    assert run("nonsense").returncode == 2
