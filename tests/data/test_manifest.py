"""Both forms of manifest, what is wrong with bad ones, and the way there and back."""

import json
import string
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.data.manifest import read_manifest, scan_manifest, write_manifest
from jasper.errors import ManifestError
from jasper.types import Utterance

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
GOOD = {"audio_filepath": "a/b.wav", "duration": 1.5, "text": "hello there"}


def lines(path, *entries):
    path.write_text(
        "".join(entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries)
    )
    return path


def test_nemo_keys_are_read(tmp_path):
    extra = {"id": "x", "offset": 2.0, "speaker": 7, "gender": "F"}
    read = read_manifest(lines(tmp_path / "m.jsonl", {**GOOD, **extra}))
    assert read == [Utterance("x", tmp_path / "a/b.wav", "hello there", 1.5, 2.0, "7", line=1)]


def test_a_file_inside_a_tar_comes_back_as_written(tmp_path):
    inside = {**GOOD, "id": "x", "audio_filepath": "a.tar", "member_offset": 512, "member_size": 9000}
    read = read_manifest(lines(tmp_path / "m.jsonl", inside))
    assert read[0].member == (512, 9000)
    write_manifest(tmp_path / "again.jsonl", read)
    assert json.loads((tmp_path / "again.jsonl").read_text()) == inside


@pytest.mark.parametrize("keys", [{"member_offset": 5}, {"member_offset": -1, "member_size": 3}])
def test_half_a_place_in_a_tar_is_refused(tmp_path, keys):
    with pytest.raises(ManifestError, match="must be a number of bytes"):
        read_manifest(lines(tmp_path / "m.jsonl", {**GOOD, **keys}))


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n   \n" + json.dumps(GOOD).encode()
    )
    assert [(utterance.id, utterance.line) for utterance in read_manifest(path)] == [("b", 1), ("b-2", 4)]


def test_a_line_separator_inside_a_string_ends_no_line(tmp_path):
    """str.splitlines would cut at U+2028, which JSON allows as it is."""
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({**GOOD, "text": "one\u2028two"}, ensure_ascii=False), encoding="utf-8")
    assert read_manifest(path)[0].text == "one\u2028two"


def test_ids_come_from_stem_and_offset_and_are_unique(tmp_path):
    named = {**GOOD, "id": "b"}
    path = lines(tmp_path / "m.jsonl", named, GOOD, {**GOOD, "offset": 2.5}, named, {**GOOD, "id": "b-2"})
    assert [utterance.id for utterance in read_manifest(path)] == ["b", "b-2", "b-2.5", "b-3", "b-2-2"]


def test_a_missing_duration_comes_from_the_file(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(8000), 16000)
    entry = {"audio_filepath": "a.flac", "text": "x"}
    path = lines(tmp_path / "m.jsonl", entry, {**entry, "duration": None, "offset": 0.1})
    assert [utterance.duration for utterance in read_manifest(path)] == pytest.approx([0.5, 0.4])


def test_an_absolute_path_stays(tmp_path):
    path = lines(tmp_path / "m.jsonl", {**GOOD, "audio_filepath": "/x/y.wav"})
    assert read_manifest(path)[0].path == Path("/x/y.wav")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{nonsense\n", "not JSON"),
        ('"a string"\n', "an utterance is a JSON object, not a string"),
        ("17\n", "not a number"),
        ({"duration": 1.0, "text": "x"}, '"audio_filepath" is missing; keys are duration, text'),
        ({"audio_filepath": "a.wav", "duration": 1.0}, '"text" is missing'),
        ({**GOOD, "audio_filepath": ""}, '"audio_filepath" is empty'),
        ({**GOOD, "audio_filepath": 3}, '"audio_filepath" must be a string, not a number'),
        ({**GOOD, "audio_filepath": "a\0b"}, "NUL"),
        ({**GOOD, "text": ["x"]}, '"text" must be a string, not a list'),
        ({**GOOD, "text": "\ud800"}, "surrogate"),
        ({**GOOD, "duration": -1}, '"duration" is -1.0 s; it cannot be negative'),
        ({**GOOD, "duration": "1.5"}, '"duration" must be a number, not a string'),
        ({**GOOD, "duration": True}, "not a truth value"),
        ({**GOOD, "duration": float("nan")}, "must be finite"),
        ({**GOOD, "duration": 10**400}, "must be finite"),
        ('{"duration": ' + "9" * 5000 + "}\n", "m.jsonl:2"),
        ("[" * 50_000 + "\n", "m.jsonl:2"),
        ({**GOOD, "offset": -0.1}, '"offset"'),
        ({**GOOD, "speaker": {}}, '"speaker" must be a string'),
        ({**GOOD, "duration": None}, 'no "duration", and the file does not tell.*no such file'),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(tmp_path, line, message):
    path = lines(tmp_path / "m.jsonl", GOOD, line, GOOD)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_scanning_goes_on_after_a_bad_line(tmp_path):
    path = lines(tmp_path / "m.jsonl", GOOD, "{\n", {**GOOD, "text": None}, GOOD)
    kinds = [(number, type(entry)) for number, entry in scan_manifest(path)]
    assert kinds == [(1, Utterance), (2, ManifestError), (3, ManifestError), (4, Utterance)]


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "none.jsonl")


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"text": "caf\xe9"}\n')
    with pytest.raises(ManifestError, match=r"m\.jsonl:2: not UTF-8: byte 0xe9"):
        read_manifest(path)


def zoo_entry(**changes):
    files = [
        {"fname": f"x/a-sp{speed}.wav", "speed": speed, "duration": 2.0 / speed, "sample_rate": 16000}
        for speed in (0.9, 1, 1.1)
    ]
    return {"transcript": "some words", "files": files, "original_duration": 2.0, **changes}


def test_the_zoos_list_is_read_at_speed_one(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps([zoo_entry(), zoo_entry(offset=0.5)], indent=1))
    first, second = read_manifest(path)
    assert (first.path, first.text, first.duration) == (tmp_path / "x/a-sp1.wav", "some words", 2.0)
    assert (first.id, second.id, second.offset, second.line) == ("a-sp1", "a-sp1-0.5", 0.5, 2)


def test_the_zoos_list_takes_what_is_closest_to_speed_one(tmp_path):
    files = [
        {"fname": "slow.wav", "speed": 0.5, "duration": 4.0},
        {"fname": "near.wav", "speed": 1.1, "duration": 2},
    ]
    path = tmp_path / "train.json"
    path.write_text(json.dumps([zoo_entry(files=files)]))
    assert read_manifest(path)[0].path.name == "near.wav"


def test_the_zoos_list_takes_texts_and_durations_from_elsewhere(tmp_path):
    (tmp_path / "a.txt").write_text("from a file\n")
    path = tmp_path / "train.json"
    entry = zoo_entry(text_filepath="a.txt", files=[{"fname": "a.wav"}])
    del entry["transcript"]
    path.write_text(json.dumps([entry]))
    read = read_manifest(path)[0]
    assert (read.text, read.duration) == ("from a file", 2.0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (zoo_entry(files=[]), '"files" must be a list of one or more objects'),
        (zoo_entry(files=["a.wav"]), '"files" must be a list'),
        (zoo_entry(files=[{}]), '"fname" is missing'),
        (zoo_entry(transcript=None), '"transcript" is missing'),
        (zoo_entry(transcript=None, text_filepath="none.txt"), "cannot be read"),
        (["nested"], "not a list"),
    ],
)
def test_a_bad_entry_of_the_zoos_list_is_counted(tmp_path, entry, message):
    path = tmp_path / "train.json"
    path.write_text(json.dumps([zoo_entry(), entry]))
    with pytest.raises(ManifestError, match=f"entry 2: .*{message}"):
        read_manifest(path)


def test_a_list_that_is_not_json_is_named_with_its_line(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('[\n{"files": }\n]')
    with pytest.raises(ManifestError, match=r"train\.json:2: not JSON"):
        read_manifest(path)


seconds = st.floats(0, 1e6, allow_nan=False)
names = st.text(string.ascii_letters + string.digits + "ü -_", min_size=1, max_size=9)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@st.composite
def utterances(draw):
    ids = draw(st.lists(names, max_size=6, unique=True))
    return [
        Utterance(
            id=name,
            path=Path(draw(st.sampled_from(["/elsewhere", "FOLDER", "FOLDER/below"])), draw(names) + ".wav"),
            text=draw(text),
            duration=draw(seconds),
            offset=draw(seconds),
            speaker=draw(st.none() | text.filter(bool)),
            line=line,
        )
        for line, name in enumerate(ids, start=1)
    ]


@settings(max_examples=60, deadline=None)
@given(utterances())
def test_what_is_written_is_read_back(written):
    with tempfile.TemporaryDirectory() as folder:
        written = [
            Utterance(
                u.id,
                Path(str(u.path).replace("FOLDER", folder)),
                u.text,
                u.duration,
                u.offset,
                u.speaker,
                u.line,
            )
            for u in written
        ]
        manifest = Path(folder) / "m.jsonl"
        write_manifest(manifest, written)
        assert read_manifest(manifest) == written
        assert list(Path(folder).iterdir()) == [manifest]


def test_paths_below_the_manifest_are_relative_and_survive_a_move(tmp_path):
    (tmp_path / "old").mkdir()
    inside, outside = tmp_path / "old/audio/a.wav", tmp_path / "older/b.wav"
    write_manifest(
        tmp_path / "old/m.jsonl", [Utterance("a", inside, "", 1.0), Utterance("b", outside, "", 1.0)]
    )
    (tmp_path / "old").rename(tmp_path / "new")
    read = read_manifest(tmp_path / "new/m.jsonl")
    assert [utterance.path for utterance in read] == [tmp_path / "new/audio/a.wav", outside]


def test_a_failed_write_leaves_the_old_manifest(tmp_path):
    path = lines(tmp_path / "m.jsonl", GOOD)
    part = Utterance("a", Path("/a.wav"), "x", 1.0)
    joined = Utterance("j", Path(), "x x", 2.0, parts=(part, part), pauses=(0.1, 0.0))
    with pytest.raises(ManifestError, match="joined"):
        write_manifest(path, [part, joined])
    assert len(read_manifest(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_large_manifests_are_read_quickly(tmp_path):
    path = tmp_path / "m.jsonl"
    write_manifest(
        path, (Utterance(f"u{i}", tmp_path / f"{i % 9}/{i}.flac", "hi", 3.5) for i in range(100_000))
    )
    begin = time.process_time()
    assert len(read_manifest(path)) == 100_000
    assert time.process_time() - begin < 10  # s; about 1 s on an idle core


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real speech at ../shared/data")
def test_manifests_of_real_speech_are_read():
    for path in sorted(SHARED.glob("*/*.jsonl")):
        read = read_manifest(path)
        assert read
        assert all(utterance.path.is_file() for utterance in read[:3])
