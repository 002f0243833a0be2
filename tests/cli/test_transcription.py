"""`jasper transcribe`: every format, several processes, standard input, and what cannot be read."""

import json
import subprocess

import numpy as np
import pysubs2
import pytest
import soundfile
from tones import JASPER, SAMPLE_RATE, assert_fault, run_jasper, tones

SECONDS = 180  # for a command that takes a few


def in_shell(*arguments, **options):
    """Run the command as a shell does, where it must have processes or a standard input of its own."""
    command = [JASPER, "transcribe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False, **options)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Half a minute of eight utterances with pauses of a second."""
    rng = np.random.default_rng(0)
    pause = 0.003 * rng.standard_normal(SAMPLE_RATE)
    texts = ["abc de", "bad cab", "ace", "ebb ad"] * 6
    parts = [part for seed, text in enumerate(texts) for part in (tones(text, seed), pause)]
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return path


def test_every_format_is_a_file_in_the_folder(run, recording, tmp_path):
    out = tmp_path / "a" / "b"
    done = run_jasper("transcribe", run, recording, "--format", "txt,srt,vtt,tsv,json,ctm", "--out", out)
    assert (done.code, done.stdout) == (0, "")
    assert sorted(path.suffix for path in out.iterdir()) == [".ctm", ".json", ".srt", ".tsv", ".txt", ".vtt"]
    raw = json.loads((out / "long.json").read_text())
    assert raw["duration"] == pytest.approx(soundfile.info(recording).duration)
    words = [word for segment in raw["segments"] for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == raw["text"] != ""
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert raw["duration"] / 2 < times[-1] <= raw["duration"]
    assert (out / "long.txt").read_text().split() == raw["text"].split()
    for name in ("srt", "vtt"):
        parsed = pysubs2.load(str(out / f"long.{name}"))
        assert " ".join(event.plaintext for event in parsed).split() == raw["text"].split()
    assert len((out / "long.ctm").read_text().splitlines()) == len(words)


def test_one_format_without_a_folder_is_printed(run, recording):
    done = run_jasper("transcribe", run, recording, "--format", "srt")
    assert len(pysubs2.SSAFile.from_string(done.stdout.removesuffix("\n"))) > 5


def test_two_processes_print_what_one_prints(run, recording, tmp_path):
    files = [recording]
    for index, text in enumerate(["abba", "dead bee"]):
        soundfile.write(tmp_path / f"{index}.wav", tones(text, index), SAMPLE_RATE)
        files.append(tmp_path / f"{index}.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF and then nothing")
    files.insert(1, tmp_path / "broken.wav")
    one, two = (in_shell(run, *files, "--json", "--words", "--jobs", jobs) for jobs in (1, 2))
    assert one.returncode == two.returncode == 1
    first, second = ([json.loads(line) for line in done.stdout.splitlines()] for done in (one, two))
    assert len(first) == 3
    for alone, together in zip(first, second, strict=True):
        assert (together["path"], together["text"]) == (alone["path"], alone["text"])
        times = [[(word["start"], word["end"]) for word in row["words"]] for row in (alone, together)]
        assert times[0] == times[1]
        # Another number of threads may add in another order.
        assert together["score"] == pytest.approx(alone["score"], abs=1e-3)
    for done in (one, two):
        faults = [line for line in done.stderr.splitlines() if line.startswith(b"jasper: ")]
        assert b"broken.wav" in faults[0]
        assert faults[1:] == [b"jasper: 1 of 4 files could not be transcribed"]
        assert done.stderr.count(b"engine: ") == 1


def test_a_model_that_several_processes_cannot_load_is_one_line(tmp_path, recording):
    done = in_shell(tmp_path, recording, recording, "--jobs", 2, text=True)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "has no config.yaml" in line


def test_a_picture_beside_the_text(run, recording, tmp_path):
    expected = run_jasper("transcribe", run, recording).stdout
    for name in ("a.png", "a.html"):
        done = run_jasper("transcribe", run, recording, "--plot", tmp_path / name)
        assert (done.code, done.stdout) == (0, expected)
        assert (tmp_path / name).stat().st_size > 10_000
    broken = run_jasper("transcribe", run, tmp_path / "no.wav", "--plot", tmp_path / "no.png")
    assert broken.code == 1
    assert not (tmp_path / "no.png").exists()


def test_a_place_where_nothing_can_be_written_is_one_line(run, recording, tmp_path):
    (tmp_path / "file").touch()
    done = run_jasper("transcribe", run, recording, "--plot", tmp_path / "file" / "a.png")
    assert_fault(done, "--plot", "a.png: cannot be written")
    (tmp_path / "long.srt").mkdir()
    done = run_jasper("transcribe", run, recording, "--out", tmp_path, "--format", "srt")
    assert_fault(done, "--out", "long.srt: cannot be written")


def test_standard_input(run, recording):
    expected = run_jasper("transcribe", run, recording).stdout
    assert in_shell(run, "-", input=recording.read_bytes()).stdout.decode() == expected
    named = in_shell(run, "-", recording, input=recording.read_bytes()).stdout.decode()
    assert named == f"-\t{expected}{recording}\t{expected}"
    assert in_shell(run, "-", input=b"").stdout == b"\n"


def test_a_url(run, recording):
    expected = run_jasper("transcribe", run, recording).stdout
    assert run_jasper("transcribe", run, f"file://{recording}").stdout == expected
    assert run_jasper("transcribe", run, f"local://{recording}").stdout == expected  # through fsspec


@pytest.mark.parametrize(
    ("name", "wave"),
    [
        ("empty.wav", np.zeros(0)),
        ("one.wav", np.array([0.3])),
        ("silence.wav", np.zeros(SAMPLE_RATE * 30)),
        ("noise.flac", 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE * 30)),
    ],
)
def test_nothing_said_is_an_empty_transcript(run, tmp_path, name, wave):
    soundfile.write(tmp_path / name, wave, SAMPLE_RATE)
    done = run_jasper("transcribe", run, tmp_path / name, "--json", "--words")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["text"], found["words"]) == ("", []) or name == "one.wav"
    assert found["duration"] == pytest.approx(wave.size / SAMPLE_RATE)


def test_a_truncated_file_is_named_and_leaves_no_file(run, recording, tmp_path):
    data = recording.read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    files = (tmp_path / "cut.wav", recording)
    done = run_jasper("transcribe", run, *files, "--format", "srt", "--out", tmp_path / "out")
    assert done.code == 1
    assert "cut.wav: cut off" in done.faults[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["long.srt"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--format", "doc"], ["--format doc", "txt, srt"]),
        (["--format", "srt,vtt"], ["--format srt,vtt", "--out"]),
        (["--out", "/dev/null/x"], ["--out /dev/null/x"]),
        (["a/long.flac", "--out", "x"], ["long.txt"]),
        (["--plot", "a.gif"], ["--plot a.gif", ".png or .html"]),
        (["b.wav", "--plot", "a.png"], ["--plot a.png", "one recording"]),
        (["-", "--jobs", "2"], ["--jobs", "standard input"]),
    ],
)
def test_options_that_cannot_be(run, recording, tmp_path, monkeypatch, options, parts):
    monkeypatch.chdir(tmp_path)
    assert_fault(run_jasper("transcribe", run, recording, *options), *parts)
