"""Folders and tables as people have them."""

import numpy as np
import pytest
import soundfile

from jasper.data.folder import manifest_from_folder
from jasper.errors import ManifestError


def record(path, seconds=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, round(16000 * seconds)), 16000)
    return path


def texts(utterances):
    return [(utterance.id, utterance.text) for utterance in utterances]


def test_texts_beside_the_recordings_are_found(tmp_path):
    record(tmp_path / "ann/1.wav", 0.25).with_suffix(".txt").write_text(
        "\ufeffhello\n  there\n", encoding="utf-8"
    )
    record(tmp_path / "bob/1.flac").with_suffix(".lab").write_text("again")
    utterances = manifest_from_folder(tmp_path, speaker_from_folder=True)
    assert texts(utterances) == [("ann-1", "hello there"), ("bob-1", "again")]
    assert [utterance.speaker for utterance in utterances] == ["ann", "bob"]
    assert [utterance.duration for utterance in utterances] == [0.25, 0.5]


def test_what_cannot_be_used_is_counted_in_one_error(tmp_path):
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav").with_suffix(".txt").write_text(" \n")
    record(tmp_path / "c.wav").with_suffix(".txt").write_bytes(b"caf\xe9")
    (tmp_path / "d.wav").write_bytes(b"no audio")
    (tmp_path / "d.txt").write_text("words")
    with pytest.raises(
        ManifestError, match=r"4 recordings cannot be used: .*a\.wav: no a\.txt or a\.lab"
    ) as caught:
        manifest_from_folder(tmp_path)
    for part in ("b.txt is empty", "c.txt cannot be read", "d.wav: cannot be decoded"):
        assert part in str(caught.value)


def test_what_cannot_be_used_can_be_reported_one_by_one(tmp_path):
    record(tmp_path / "a.wav")
    record(tmp_path / "b.wav").with_suffix(".txt").write_text("words")
    faults = []
    assert texts(manifest_from_folder(tmp_path, report=faults.append)) == [("b", "words")]
    assert len(faults) == 1
    assert "a.wav" in faults[0]


def test_common_voice_is_read(tmp_path):
    """Its TSV has quotes that do not quote, and file names without their folder."""
    record(tmp_path / "clips/common_voice_en_1.mp3")
    record(tmp_path / "clips/common_voice_en_2.mp3")
    record(tmp_path / "clips/not_in_this_split.mp3")
    (tmp_path / "dev.tsv").write_text(
        "client_id\tpath\tsentence\tup_votes\n"
        'abc\tcommon_voice_en_2.mp3\t"Yes, he said.\t2\n'
        "def\tcommon_voice_en_1\tSo, it is.\t2\n"
    )
    utterances = manifest_from_folder(tmp_path, table=tmp_path / "dev.tsv")
    assert [utterance.text for utterance in utterances] == ['"Yes, he said.', "So, it is."]
    assert [utterance.speaker for utterance in utterances] == ["abc", "def"]
    assert [utterance.path.name for utterance in utterances] == [
        "common_voice_en_2.mp3",
        "common_voice_en_1.mp3",
    ]


def test_ljspeech_is_read(tmp_path):
    """Its metadata.csv has no header, is separated by bars, and names recordings by their stem."""
    record(tmp_path / "wavs/LJ001-0001.wav")
    record(tmp_path / "wavs/LJ001-0002.wav")
    (tmp_path / "metadata.csv").write_text(
        'LJ001-0001|in 1455, "so|in fourteen fifty-five, "so\nLJ001-0002|two|two normalised\n'
    )
    utterances = manifest_from_folder(tmp_path, table="metadata.csv")
    assert [utterance.text for utterance in utterances] == ['in fourteen fifty-five, "so', "two normalised"]


def test_quoted_commas_are_read(tmp_path):
    record(tmp_path / "audio/a.wav")
    (tmp_path / "t.csv").write_text('Text,File,Speaker\n"one, ""two""",audio/a.wav,ann\n\n')
    (utterance,) = manifest_from_folder(tmp_path, table="t.csv")
    assert (utterance.text, utterance.speaker) == ('one, "two"', "ann")


def test_columns_can_be_named(tmp_path):
    record(tmp_path / "a.wav")
    (tmp_path / "t.tsv").write_text("clip\traw\ttext\na\tRaw\tnormal\n")
    (utterance,) = manifest_from_folder(tmp_path, table="t.tsv", audio_column="clip", text_column="raw")
    assert utterance.text == "Raw"
    with pytest.raises(ManifestError, match="no column 'words'; columns are clip, raw, text"):
        manifest_from_folder(tmp_path, table="t.tsv", audio_column="clip", text_column="words")
    with pytest.raises(ManifestError, match="no column of recordings among clip, raw, text"):
        manifest_from_folder(tmp_path, table="t.tsv")


def test_rows_that_fit_no_recording_are_reported(tmp_path):
    for name in ("x/same.wav", "y/same.wav", "z/other.wav"):
        record(tmp_path / name)
    (tmp_path / "t.csv").write_text("path,text\nsame,which\nnone.wav,where\nother,\nx/same.wav,good\n")
    faults = []
    utterances = manifest_from_folder(tmp_path, table="t.csv", report=faults.append)
    assert texts(utterances) == [("x-same", "good")]
    assert len(faults) == 3
    assert "row 2: 2 recordings are called 'same'" in faults[0]
    assert "row 3: no recordings are called 'none.wav'" in faults[1]
    assert "row 4 of t.csv has no text" in faults[2]


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="no such folder"):
        manifest_from_folder(tmp_path / "none")
    with pytest.raises(ManifestError, match="no recordings"):
        manifest_from_folder(tmp_path)
    record(tmp_path / "a.wav")
    with pytest.raises(ManifestError, match="no such table"):
        manifest_from_folder(tmp_path, table="none.csv")
