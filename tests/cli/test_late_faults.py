"""What keeps a result from being written is said before the work; a full disk leaves no half of a file."""

import json
import subprocess
import sys

import pytest
import soundfile
from tones import SAMPLE_RATE, assert_fault, run_jasper, tones

FULL = 600  # bytes of a file: a message has less, a result more
NO_MODEL = "no/model"  # it would be named first, were it looked at before what is asked for


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "a.wav"
    soundfile.write(path, tones("abc de bad cab"), SAMPLE_RATE)
    return path


def run_without(packages, *arguments):
    """Run the command line where these packages are not installed; standard error."""
    code = f"import sys; sys.modules.update(dict.fromkeys({packages!r})); from jasper.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("matplotlib", ["transcribe", NO_MODEL, "a.wav", "--plot", "a.png"]),
        ("jinja2", ["transcribe", NO_MODEL, "a.wav", "--plot", "a.html"]),
        ("jinja2", ["eval", NO_MODEL, "a.jsonl", "--out", "scores"]),
        ("matplotlib", ["calibrate", NO_MODEL, "a.jsonl", "--out", "a.html"]),
        ("torch", ["export", NO_MODEL, "--format", "torch"]),
        ("openvino", ["export", NO_MODEL, "--format", "openvino"]),
    ],
)
def test_a_package_that_is_missing_is_named_before_the_work(package, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_without([package], *arguments).startswith(f"jasper: {package} is not installed; run: pip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["transcribe", NO_MODEL, "a.wav", "--plot", "file/a.png"], "--plot file/a.png: cannot be written"),
        (["transcribe", NO_MODEL, "a.wav", "--plot", "folder.png"], "--plot folder.png: cannot be written"),
        (["transcribe", NO_MODEL, "a.wav", "--out", "file"], "--out file/a.txt: cannot be written"),
        (["transcribe", NO_MODEL, "folder.wav", "--out", "."], "--out folder.txt: cannot be written"),
        (["eval", NO_MODEL, "a.jsonl", "--out", "file"], "--out file: cannot be made a folder"),
        (["align", NO_MODEL, "a.jsonl", "--out", "file"], "--out file: cannot be made a folder"),
        (["calibrate", NO_MODEL, "a.jsonl", "--out", "file/a.html"], "--out file/a.html: cannot be written"),
    ],
)
def test_a_place_that_cannot_be_is_named_before_the_work(arguments, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in ("folder.png", "folder.txt"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.jsonl").write_text('{"audio_filepath": "a.wav", "duration": 1, "text": "a"}')
    assert_fault(run_jasper(*arguments), part)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--out", "file/model.onnx"], "file/model.onnx: could not be written"),
        (["--out", "folder.onnx"], "folder.onnx: could not be written"),
        (["--out", "model.bin"], "--out model.bin: a file of format onnx ends in .onnx"),
    ],
)
def test_int8_is_not_planned_for_a_place_that_cannot_be(run, options, part, tmp_path, monkeypatch):
    """The manifest is not there, which would be said first, were it read before the place is looked at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    done = run_jasper("export", run, "--precision", "int8", "--calibrate", "no.jsonl", *options)
    assert_fault(done, part)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["-", "-"], "standard input can be read once"),
        (["a.wav", "--words"], "--words: goes with --json"),
        (["a.wav", "--json", "--format", "srt"], "--format srt: with --json, it wants a folder"),
    ],
)
def test_transcripts_that_cannot_be_asked_for(options, part):
    assert_fault(run_jasper("transcribe", NO_MODEL, *options), part)


def test_speech_to_calibrate_what_is_not_int8(run):
    assert_fault(run_jasper("export", run, "--calibrate", "a.jsonl"), "--calibrate: is for --precision int8")


@pytest.mark.parametrize("command", [["align"], ["eval", "--log-probs"]])
def test_two_utterances_are_never_one_file(command, tmp_path):
    """The second was written over the first."""
    row = {"audio_filepath": "a.wav", "duration": 1, "text": "a"}
    lines = [json.dumps({"id": name, **row}) for name in ("a/b", "c", "a_b")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    done = run_jasper(command[0], NO_MODEL, tmp_path / "a.jsonl", "--out", tmp_path / "out", *command[1:])
    assert_fault(done, "--out", "a/b and a_b would be one")


@pytest.mark.parametrize("option", [["--only-speaker", "nobody"], []])
def test_of_nothing_there_is_no_score(run, corpus, option, tmp_path):
    """It was a word error rate of 0 %."""
    (tmp_path / "empty.jsonl").touch()
    manifest = corpus if option else tmp_path / "empty.jsonl"
    assert_fault(run_jasper("eval", run, manifest, *option), manifest, "none is to be scored")


def test_the_help_begins_with_what_is_written():
    shown = run_jasper("transcribe", "--help").stdout
    places = [shown.index(part) for part in ("AUDIO", "--out", "Search", "--beam", "Engine", "--engine")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe", "RUN", "RECORDING", "--format", "json", "--out", "out"],
        ["transcribe", "RUN", "RECORDING", "--plot", "out/a.png"],
        ["eval", "RUN", "CORPUS", "--out", "out"],
        ["eval", "RUN", "CORPUS", "--out", "out", "--log-probs"],
        ["align", "RUN", "CORPUS", "--out", "out", "--format", "textgrid"],
        ["export", "RUN", "--out", "out/a.onnx"],
        ["export", "RUN", "--format", "openvino", "--out", "out/a.xml"],
        ["export", "RUN", "--format", "torch", "--out", "out/a.pt2"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_one_line_and_no_half_of_a_file(
    run, recording, corpus, arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {"RUN": run, "RECORDING": recording, "CORPUS": corpus}
    made = [names.get(argument, argument) for argument in arguments]
    run_jasper("transcribe", run, recording)  # what the engine keeps of the model is there then
    done = run_jasper(*made, file_size=FULL)
    assert_fault(done, "written", "out")
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < FULL and path.suffix != ".tmp" for path in left), left  # whole
