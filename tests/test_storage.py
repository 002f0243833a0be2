"""Local files and URLs are read and written alike; what a store raises is an OSError."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from socket import socket

import pytest

from jasper.storage import exists, folder_of, new_file, num_bytes, open_binary, read_range, stem, within
from jasper.types import location


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return tmp_path if request.param == "local" else f"memory://{tmp_path.name}"


def test_what_is_written_is_read_whole_and_in_part(folder):
    place = within(folder, "below/a.bin")
    assert not exists(place)
    with new_file(place) as file:
        file.write(b"0123456789")
    assert exists(place)
    assert num_bytes(place) == 10
    assert read_range(place, 3, 4) == b"3456"
    assert read_range(place, 8, 100) == b"89"
    with open_binary(place) as file:
        assert file.read() == b"0123456789"


def write_and_fail(place):
    with new_file(place) as file:
        file.write(b"new")
        raise RuntimeError


def test_a_file_whose_writing_fails_keeps_what_was_there(folder):
    place = within(folder, "a.bin")
    with new_file(place) as file:
        file.write(b"old")
    with pytest.raises(RuntimeError):
        write_and_fail(place)
    assert read_range(place, 0, 9) == b"old"


def test_nothing_is_left_of_a_file_whose_writing_failed(tmp_path):
    with pytest.raises(RuntimeError):
        write_and_fail(tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_no_file(folder):
    for act in (open_binary, num_bytes):
        with pytest.raises(FileNotFoundError):
            act(within(folder, "none.bin"))


def test_a_server_that_does_not_answer_is_no_missing_file():
    with socket() as taken:  # no other process listens there meanwhile
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="ClientConnectorError") as raised:
            open_binary(f"http://127.0.0.1:{taken.getsockname()[1]}/a.wav")
    assert not isinstance(raised.value, FileNotFoundError)


@pytest.mark.parametrize("url", ["nosuchscheme://x/y", "s3://bucket/y"])
def test_a_store_that_is_not_installed_is_an_os_error(url):
    """Whoever opens a file turns an OSError into a line for the user."""
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(OSError, match=r"nosuchscheme|s3fs"):
        open_binary(url)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a/b.jsonl", Path("a/b.jsonl")),
        ("/a/b.jsonl", Path("/a/b.jsonl")),
        ("file:///a/b.jsonl", Path("/a/b.jsonl")),
        ("s3://bucket/b.jsonl", "s3://bucket/b.jsonl"),
        ("simplecache::s3://bucket/b.jsonl", "simplecache::s3://bucket/b.jsonl"),
    ],
)
def test_a_url_is_told_from_a_path(text, place):
    assert location(text) == place
    assert type(location(text)) is type(place)


def test_names_are_relative_to_a_folder_unless_they_stand_alone():
    assert folder_of("s3://b/x/index.jsonl") == "s3://b/x"
    assert within("s3://b/x", "a.tar") == "s3://b/x/a.tar"
    assert within("s3://b/x", "gs://c/a.tar") == "gs://c/a.tar"
    assert within(Path("/x"), "/y/a.tar") == Path("/y/a.tar")
    assert stem("s3://b/x/a.tar") == stem(Path("x/a.tar")) == "a"
