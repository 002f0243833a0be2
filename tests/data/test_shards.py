"""Shards hold what the manifest does, other tools read them, and damaged ones are told by name."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset
from tones import recipe, run_jasper, write_corpus

import jasper.data.shards as shards
from jasper.audio import read_audio
from jasper.data.dataset import read_utterance
from jasper.data.manifest import read_manifest, write_manifest
from jasper.data.selection import read_training
from jasper.data.shards import ShardOptions, write_shards
from jasper.data.validate import validate
from jasper.errors import AudioError, ManifestError, TrainingError
from jasper.types import Utterance

TEXTS = ["abc", "bcd", "cde", "dea", "ab cd", "be", "ade bc", "cab"]
RATE = 8000


@pytest.fixture
def manifest(tmp_path) -> Path:
    return write_corpus(tmp_path / "corpus", TEXTS)


def shard(manifest: Path, out: Path | str, **options) -> Path:
    index = write_shards(read_manifest(manifest), out, ShardOptions(**{"num_shards": 3, **options}))
    return Path(index)


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_index_is_the_manifest_in_its_order_with_the_same_waves(manifest, tmp_path, shuffle):
    index = shard(manifest, tmp_path / "out", shuffle=shuffle)
    plain, sharded = read_manifest(manifest), read_manifest(index)
    assert [replace(u, path=Path(), member=None) for u in sharded] == [replace(u, path=Path()) for u in plain]
    assert {u.path for u in sharded} == set(tars(tmp_path / "out"))
    for one, other in zip(plain, sharded, strict=True):
        np.testing.assert_array_equal(read_utterance(one, RATE), read_utterance(other, RATE))


def test_shards_survive_a_move_and_are_the_same_to_the_byte_again(manifest, tmp_path):
    shard(manifest, tmp_path / "out")
    shard(manifest, tmp_path / "again", jobs=1)
    for path in sorted((tmp_path / "out").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    (tmp_path / "out").rename(tmp_path / "moved")
    assert validate(tmp_path / "moved/index.jsonl").faults == ()


def test_webdataset_and_tarfile_read_them(manifest, tmp_path):
    index = shard(manifest, tmp_path / "out")
    samples = {}
    for path in tars(tmp_path / "out"):
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            about = json.loads(sample["json"])
            samples[about["id"]] = about["text"], sample["wav"]
    with tarfile.open(tars(tmp_path / "out")[0]) as tar:
        places = {(member.offset_data, member.size) for member in tar}
    for utterance, original in zip(read_manifest(index), read_manifest(manifest), strict=True):
        assert samples[utterance.id] == (utterance.text, Path(original.path).read_bytes())
        if utterance.path == tars(tmp_path / "out")[0]:
            assert utterance.member in places


def test_keys_are_what_webdataset_takes_whatever_the_ids_are(manifest, tmp_path):
    """WebDataset ends a sample's key at the first dot, and takes a slash for a folder."""
    names = ["a.b/c", "a b", "a_b", "ü" * 200, "x" * 300, "1.5", "-", "é"]
    written = [replace(u, id=name) for u, name in zip(read_manifest(manifest), names, strict=True)]
    write_shards(written, tmp_path / "out", ShardOptions(num_shards=1))
    found = [
        json.loads(s["json"])["id"]
        for s in webdataset.WebDataset(str(*tars(tmp_path / "out")), shardshuffle=False)
    ]
    assert sorted(found) == sorted(names)
    assert [u.id for u in read_manifest(tmp_path / "out/index.jsonl")] == names


@pytest.mark.parametrize(("name", "kept"), [("a.wav", "flac"), ("a.flac", "flac"), ("a.ogg", "wav")])
@pytest.mark.parametrize("target", ["keep", "wav"])
def test_a_stretch_is_cut_without_loss(tmp_path, name, kept, target):
    wave = np.random.default_rng(0).uniform(-1, 1, (3 * RATE, 2))
    soundfile.write(tmp_path / name, wave, RATE)
    cut = Utterance("cut", tmp_path / name, "ab", 1.2345, offset=0.777)
    write_shards([cut], tmp_path / "out", ShardOptions(target=target))
    (sharded,) = read_manifest(tmp_path / "out/index.jsonl")
    assert sharded.offset is None
    for channel in (None, 1):
        expected = read_utterance(cut, RATE, channel=channel)
        np.testing.assert_array_equal(read_utterance(sharded, RATE, channel=channel), expected)
    with tarfile.open(*tars(tmp_path / "out")) as tar:
        assert tar.getnames() == [f"cut.{kept if target == 'keep' else 'wav'}", "cut.json"]


@pytest.mark.parametrize("target", ["flac", "ogg"])
def test_files_are_encoded_as_asked(manifest, tmp_path, target):
    sharded = read_manifest(shard(manifest, tmp_path / "out", target=target))
    for one, other in zip(read_manifest(manifest), sharded, strict=True):
        before, after = read_utterance(one, RATE), read_utterance(other, RATE)
        assert before.shape == after.shape
        assert np.abs(before - after).max() <= (0 if target == "flac" else 0.1)


def test_shards_in_a_store_are_written_and_read_by_url(manifest, tmp_path):
    url = f"memory://{tmp_path.name}/set"
    index = write_shards(read_manifest(manifest), url, ShardOptions(num_shards=2))
    assert index == f"{url}/index.jsonl"
    sharded = read_manifest(index)
    assert {u.path for u in sharded} == {f"{url}/shard-000000.tar", f"{url}/shard-000001.tar"}
    for one, other in zip(read_manifest(manifest), sharded, strict=True):
        np.testing.assert_array_equal(read_utterance(one, RATE), read_utterance(other, RATE))
    assert validate(index).faults == ()
    assert list(read_training(recipe(index, tmp_path / "run")).utterances) == sharded


def test_an_interrupted_write_leaves_no_index_and_is_run_again(manifest, tmp_path, monkeypatch):
    calls = []

    def broken(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*arguments)

    original = shards.audio_bytes
    monkeypatch.setattr(shards, "audio_bytes", broken)
    with pytest.raises(KeyboardInterrupt):
        shard(manifest, tmp_path / "out")
    assert all(path.suffix == ".tar" for path in (tmp_path / "out").iterdir())
    monkeypatch.undo()
    assert validate(shard(manifest, tmp_path / "out")).faults == ()
    with pytest.raises(ManifestError, match="there are shards already"):
        shard(manifest, tmp_path / "out")


def test_a_recording_that_cannot_be_read_stops_the_write_or_is_left_out(manifest, tmp_path):
    (manifest.parent / "train-03.wav").write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"train-03: .*train-03\.wav: cannot be decoded"):
        shard(manifest, tmp_path / "out")
    assert not (tmp_path / "out/index.jsonl").exists()
    finished = run_jasper("data", "shard", manifest, tmp_path / "out", "--num-shards", 2, "--skip-faulty")
    assert finished.code == 0
    assert "7 utterances written, 1 left out" in finished.stdout
    assert "train-03" not in [u.id for u in read_manifest(tmp_path / "out/index.jsonl")]


def test_an_id_given_twice_is_refused(manifest, tmp_path):
    twice = read_manifest(manifest) * 2
    with pytest.raises(ManifestError, match="'train-00' is given twice"):
        write_shards(twice, tmp_path / "out", ShardOptions())


@pytest.mark.parametrize("left", [0.0, 0.02, 0.4, 0.9, 0.9999])
def test_a_truncated_shard_is_named_and_what_it_lacks_is_refused(manifest, tmp_path, left):
    index = shard(manifest, tmp_path / "out", num_shards=2)
    cut = tars(tmp_path / "out")[1]
    size = round(left * cut.stat().st_size)
    cut.write_bytes(cut.read_bytes()[:size])
    everyone = read_manifest(index)
    whole = [u for u in everyone if u.path != cut or sum(u.member) <= size]
    selection = read_training(recipe(index, tmp_path / "run"))
    assert list(selection.utterances) == whole
    assert {r.kind for r in selection.refused} <= {"in a damaged shard"}
    assert f"{cut}: damaged: {size} bytes, shards.json says" in selection.summary()
    for utterance in whole:
        read_utterance(utterance, RATE)
    with pytest.raises(TrainingError, match=r"shard-000001\.tar: damaged"):
        read_training(recipe(index, tmp_path / "run", data={"on_error": "stop"}))
    assert {fault.kind for fault in validate(index).faults} <= {"damaged_shard", "unreadable"}
    for lost in (utterance for utterance in everyone if utterance not in whole):
        with pytest.raises(AudioError, match=r"shard-000001\.tar, member at byte \d+: the tar is cut off"):
            read_audio(lost.path, RATE, member=lost.member)


def test_a_vanished_shard_is_named(manifest, tmp_path):
    index = shard(manifest, tmp_path / "out", num_shards=2)
    gone = tars(tmp_path / "out")[0]
    gone.unlink()
    selection = read_training(recipe(index, tmp_path / "run"))
    assert {u.path for u in selection.utterances} == {tars(tmp_path / "out")[0]}
    assert f"{gone}: No such file" in selection.summary()


def test_a_changed_byte_is_found_by_validate(manifest, tmp_path):
    index = shard(manifest, tmp_path / "out", num_shards=2)
    changed = tars(tmp_path / "out")[1]
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    (fault,) = validate(index).faults
    assert fault.kind == "damaged_shard"
    assert str(changed) in fault.message


def test_shards_are_of_like_duration(manifest, tmp_path):
    many = [replace(u, id=f"{u.id}-{i}") for i in range(20) for u in read_manifest(manifest)]
    write_manifest(tmp_path / "many.jsonl", many)
    sizes = [path.stat().st_size for path in tars(shard(tmp_path / "many.jsonl", tmp_path / "out").parent)]
    assert len(sizes) == 3
    assert max(sizes) < 1.1 * min(sizes)
