"""Downloads from a server that misbehaves, and archives that want to get out."""

import hashlib
import io
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jasper.data.download import download, extract_tar
from jasper.errors import DownloadError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the attributes say how it misbehaves, `ranges` what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.statuses: list[int] = []  # of the next answers, before any is good
        self.knows_ranges = True
        self.etag, self.knows_if_range = "", True
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if server.knows_if_range and self.headers.get("If-Range", server.etag) != server.etag:
            wanted = None  # the file has changed: all of it
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        self.send_response(206 if wanted and server.knows_ranges else 200)
        if wanted and server.knows_ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("jasper.data.download.BACKOFF_S", 0.001)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("checksum", [{}, {"md5": MD5}, {"sha256": SHA256.upper()}])
def test_a_file_is_fetched_and_verified(server, tmp_path, checksum):
    path = download(server.url, tmp_path / "new" / "file.bin", **checksum)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cuts = [1000, 500]
    assert download(server.url, tmp_path / "f", md5=MD5).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_any_number_of_cuts_is_survived_while_bytes_arrive(server, tmp_path):
    server.cuts = [10_000] * 12
    assert download(server.url, tmp_path / "f").read_bytes() == CONTENT


def test_the_part_of_an_earlier_run_is_taken_up(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT[:5000])
    assert download(server.url, tmp_path / "f", md5=MD5).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]


def test_without_a_checksum_an_old_part_is_not_trusted(server, tmp_path):
    (tmp_path / "f.part").write_bytes(b"of another file")
    assert download(server.url, tmp_path / "f").read_bytes() == CONTENT
    assert server.ranges == [None]


def part_of_an_earlier_run(server, path):
    """A download that was given up after 1000 bytes, which are spoilt, so that it shows who takes them."""
    server.cuts, server.statuses = [1000], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jasper.data.download.ATTEMPTS", 1)
        with pytest.raises(DownloadError, match="gave up after 1 attempts with 1,000 bytes"):
            download(server.url, path)
    server.ranges.clear()
    path.with_name(f"{path.name}.part").write_bytes(bytes(1000))


def test_without_a_checksum_the_servers_tag_tells_whose_an_old_part_is(server, tmp_path):
    """No checksums are published of the public weights: 1.2 GB began anew after each Ctrl-C."""
    server.etag = '"one"'
    part_of_an_earlier_run(server, tmp_path / "f")
    assert download(server.url, tmp_path / "f").read_bytes() == bytes(1000) + CONTENT[1000:]
    assert server.ranges == ["bytes=1000-"]
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


@pytest.mark.parametrize("knows_if_range", [True, False])
def test_a_file_that_has_changed_is_fetched_from_its_start(server, tmp_path, knows_if_range):
    server.etag, server.knows_if_range = '"one"', knows_if_range
    part_of_an_earlier_run(server, tmp_path / "f")
    server.etag = '"two"'
    assert download(server.url, tmp_path / "f").read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_a_weak_tag_is_none(server, tmp_path):
    server.etag = 'W/"one"'
    part_of_an_earlier_run(server, tmp_path / "f")
    assert download(server.url, tmp_path / "f").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_only_verified(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "f", md5=MD5).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "f", md5=MD5).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_from_the_start(server, tmp_path):
    server.knows_ranges = False
    server.cuts = [1000]
    assert download(server.url, tmp_path / "f", md5=MD5).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


def test_a_wrong_checksum_deletes_the_part_and_says_so(server, tmp_path):
    with pytest.raises(DownloadError, match=f"md5 is {MD5}, expected 0000.*deleted"):
        download(server.url, tmp_path / "f", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_and_right_is_not_fetched_again(server, tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    download(server.url, tmp_path / "f", sha256=SHA256)
    assert server.ranges == []


def test_what_is_there_and_wrong_is_fetched_again(server, tmp_path):
    (tmp_path / "f").write_bytes(b"something else")
    assert download(server.url, tmp_path / "f", sha256=SHA256).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429]
    assert download(server.url, tmp_path / "f").read_bytes() == CONTENT


def test_a_server_that_stays_down_is_given_up(server, tmp_path):
    server.statuses = [503] * 99
    with pytest.raises(DownloadError, match=r"gave up after 5 attempts.*run the same command again"):
        download(server.url, tmp_path / "f")
    assert len(server.ranges) == 5


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.statuses = [404, 404]
    with pytest.raises(DownloadError, match=r"HTTP 404.*check the address"):
        download(server.url, tmp_path / "f")
    assert len(server.ranges) == 1


def test_no_server_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("jasper.data.download.BACKOFF_S", 0.001)
    with pytest.raises(DownloadError, match=r"[Rr]efused"):
        download("http://127.0.0.1:9/f", tmp_path / "f")


def test_other_kinds_of_address_are_refused(tmp_path):
    with pytest.raises(DownloadError, match="not an http"):
        download("file:///etc/passwd", tmp_path / "f")


def test_a_full_disk_is_told_before_anything_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="no room for 1,024,000 bytes"):
        download(server.url, tmp_path / "f")


def tar_of(path, *members, mode="w:gz"):
    """Write an archive; a member is (name, bytes) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_extracted(tmp_path, mode):
    members = ("a/b.txt", b"one"), special("a/link", tarfile.SYMTYPE, "b.txt"), special("c", tarfile.DIRTYPE)
    extract_tar(tar_of(tmp_path / "a.tar", *members, mode=mode), tmp_path / "out")
    assert (tmp_path / "out/a/link").read_bytes() == b"one"
    assert (tmp_path / "out/c").is_dir()


@pytest.mark.parametrize(
    "members",
    [
        [("/absolute", b"x")],
        [("../up", b"x")],
        [("a/../../up", b"x")],
        [special("link", tarfile.SYMTYPE, "/etc")],
        [special("link", tarfile.SYMTYPE, "..")],
        [special("a/link", tarfile.SYMTYPE, "../../up")],
        [special("link", tarfile.SYMTYPE, ".."), ("link/up", b"x")],
        [
            special("in", tarfile.SYMTYPE, "."),
            special("in/out", tarfile.SYMTYPE, "../.."),
            ("in/out/up", b"x"),
        ],
        [special("link", tarfile.LNKTYPE, "../secret")],
        [special("link", tarfile.LNKTYPE, "/etc/passwd")],
        [special("device", tarfile.CHRTYPE)],
        [special("block", tarfile.BLKTYPE)],
        [special("pipe", tarfile.FIFOTYPE)],
    ],
)
@pytest.mark.parametrize("filtered", [True, False])
def test_nothing_leaves_the_folder(tmp_path, monkeypatch, members, filtered):
    """Also where Python is too old for tarfile's own filter."""
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "secret").write_text("before")
    archive = tar_of(tmp_path / "a.tar.gz", *members)
    with pytest.raises(DownloadError, match="not extracted"):
        extract_tar(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "out", "secret"]
    assert (tmp_path / "secret").read_text() == "before"


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    archive = tar_of(tmp_path / "bomb.tar.gz", ("a", bytes(600)), ("b", bytes(600)))
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        extract_tar(archive, tmp_path / "out", max_bytes=1000)
    extract_tar(archive, tmp_path / "out", max_bytes=1200)


@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.99])
def test_a_cut_off_archive_is_an_error(tmp_path, kept):
    archive = tar_of(tmp_path / "a.tar.gz", ("a", os.urandom(50_000)), ("b", os.urandom(50_000)))
    content = archive.read_bytes()
    archive.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    with pytest.raises(DownloadError, match=r"download it again|cannot be extracted"):
        extract_tar(archive, tmp_path / "out")


def test_a_missing_archive_is_an_error(tmp_path):
    with pytest.raises(DownloadError, match="No such file"):
        extract_tar(tmp_path / "none.tar", tmp_path / "out")
