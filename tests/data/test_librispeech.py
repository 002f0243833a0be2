"""A LibriSpeech of three utterances, on disk, in an archive and on a server."""

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading

import numpy as np
import pytest
import soundfile

from jasper.data import librispeech
from jasper.data.librispeech import SUBSETS, Archive, prepare
from jasper.data.manifest import read_manifest
from jasper.errors import DownloadError, ManifestError

TEXTS = {"84-121-0000": "GO DO YOU HEAR", "84-121-0001": "BUT IN LESS", "777-126-0000": "BORN AND EDUCATED"}


def corpus(tree):
    """Write `<tree>/<speaker>/<chapter>/` in the corpus's form."""
    for index, (name, text) in enumerate(TEXTS.items()):
        speaker, chapter, _ = name.split("-")
        folder = tree / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).uniform(-0.5, 0.5, 16000 + 1600 * index)
        soundfile.write(folder / f"{name}.flac", noise, 16000)
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {text}\n")
    return tree


def check(manifest):
    utterances = read_manifest(manifest)
    assert {utterance.id: utterance.text for utterance in utterances} == TEXTS
    assert [utterance.id for utterance in utterances] == ["777-126-0000", "84-121-0000", "84-121-0001"]
    assert [utterance.speaker for utterance in utterances] == ["777", "84", "84"]
    assert [utterance.duration for utterance in utterances] == pytest.approx([1.2, 1.0, 1.1])
    assert all(utterance.path.is_file() for utterance in utterances)


@pytest.mark.parametrize("below", ["LibriSpeech", ""])
def test_a_tree_that_is_there_is_used(tmp_path, below):
    corpus(tmp_path / below / "dev-clean")
    manifests = prepare(tmp_path, ["dev-clean"], download=False)
    assert manifests == [tmp_path / "dev-clean.jsonl"]
    check(manifests[0])
    written = manifests[0].read_text()
    prepare(tmp_path, ["dev-clean"], download=False)
    assert manifests[0].read_text() == written
    assert str(tmp_path) not in written


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The address of a local server with an archive of dev-clean, whose checksum is the expected one."""
    served, source = tmp_path / "served", tmp_path / "source"
    served.mkdir()
    corpus(source / "LibriSpeech/dev-clean")
    (source / "LibriSpeech/LICENSE.TXT").write_text("CC BY 4.0")
    archive = served / "dev-clean.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "LibriSpeech", "LibriSpeech")
    shutil.rmtree(source)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(SUBSETS, "dev-clean", Archive("http://127.0.0.1:9/nowhere", md5))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_what_is_missing_is_downloaded_and_extracted(tmp_path, mirror):
    root = tmp_path / "corpora"
    (manifest,) = prepare(root, ["dev-clean"], url=mirror)
    check(manifest)
    assert (root / "LibriSpeech/dev-clean/84").is_dir()
    assert not list(root.glob(".*"))


def test_an_archive_that_is_there_needs_no_network(tmp_path, mirror):
    root = tmp_path / "corpora"
    root.mkdir()
    shutil.copy(tmp_path / "served/dev-clean.tar.gz", root)
    check(prepare(root, ["dev-clean"], download=False)[0])


def test_a_broken_extraction_leaves_no_tree_that_looks_complete(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(librispeech, "MAX_EXPANSION", 0)
    monkeypatch.setattr(librispeech, "SMALL_ARCHIVE", 40_000)
    root = tmp_path / "corpora"
    with pytest.raises(DownloadError, match="more than"):
        prepare(root, ["dev-clean"], url=mirror)
    assert [path.name for path in root.iterdir()] == ["dev-clean.tar.gz"]


def test_without_download_a_missing_tree_is_an_error(tmp_path):
    with pytest.raises(DownloadError, match="allow a download"):
        prepare(tmp_path, ["test-other"], download=False)


def test_an_unknown_subset_is_told_before_any_work(tmp_path):
    with pytest.raises(ManifestError, match=r"no such subset: dev-cleen; subsets are dev-clean, "):
        prepare(tmp_path, ["dev-clean", "dev-cleen"])


def test_a_missing_recording_and_a_missing_transcript_are_counted(tmp_path):
    tree = corpus(tmp_path / "dev-clean")
    (tree / "84/121/84-121-0001.flac").unlink()
    (tree / "777/126/777-126.trans.txt").unlink()
    with pytest.raises(ManifestError) as caught:
        prepare(tmp_path, ["dev-clean"], download=False)
    assert "1 recordings without a transcript (777-126-0000)" in str(caught.value)
    assert "1 transcripts without a recording (84-121-0001)" in str(caught.value)
    assert not (tmp_path / "dev-clean.jsonl").exists()


def test_an_empty_tree_is_an_error(tmp_path):
    (tmp_path / "dev-clean").mkdir()
    with pytest.raises(ManifestError, match="no <speaker>/<chapter>"):
        prepare(tmp_path, ["dev-clean"], download=False)


def test_every_subset_is_published_with_a_checksum():
    assert len(SUBSETS) == 9
    for name, archive in SUBSETS.items():
        assert archive.url.startswith("https://www.openslr.org/resources/")
        assert archive.url.endswith(f"/{name}.tar.gz")
        assert len(archive.md5) == 32
