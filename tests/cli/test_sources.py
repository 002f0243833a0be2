"""Where recordings lie and what they are called: names of any bytes, pipes, standard output that is full."""

import json
import os
import subprocess
import sys

import pytest
import soundfile
from tones import JASPER, SAMPLE_RATE, run_jasper, tones

SECONDS = 120  # until a command that hangs is ended


def in_shell(line, folder, **names):
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "JASPER": str(JASPER), **names},
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "a.wav"
    soundfile.write(path, tones("abc de bad cab"), SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def text(run, recording):
    return run_jasper("transcribe", run, recording).stdout


@pytest.mark.parametrize(
    "name", [b"bad\xff.wav", "zażółć 日本.wav".encode(), b"q?x.wav", b"-d ash.wav", b"%20.wav"]
)
@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_file_of_any_name(run, recording, text, tmp_path, name):
    """A name that is no UTF-8 was a traceback; the transcript of q?x.wav was named q."""
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 (bytes)
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(recording.read_bytes())
    done = in_shell(
        '"$JASPER" transcribe "$RUN" -- "$FILE" && "$JASPER" transcribe "$RUN" --json -- "$FILE" '
        '&& "$JASPER" transcribe "$RUN" --format json,ctm --out out -- "$FILE"',
        tmp_path,
        RUN=str(run),
        FILE=os.fsdecode(path),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.decode().splitlines()
    assert first == text.strip()
    assert json.loads(second)["text"] == text.strip()
    stem = os.fsdecode(name[:-4])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{stem}.ctm", f"{stem}.json"]
    assert json.loads((tmp_path / "out" / f"{stem}.json").read_text("utf-8"))["text"] == text.strip()


def test_the_pipe_of_a_shell(run, recording, text, tmp_path):
    done = in_shell('"$JASPER" transcribe "$RUN" <(cat "$FILE")', tmp_path, RUN=str(run), FILE=str(recording))
    assert done.stdout.decode() == text


@pytest.mark.parametrize(
    ("name", "what"),
    [("a" * 300 + ".wav", "File name too long"), ("/dev/null", "is a device"), (".", "is a directory")],
)
def test_what_is_no_file_does_not_stop_the_others(run, recording, text, name, what):
    done = run_jasper("transcribe", run, name, recording)
    assert (done.code, done.stdout) == (1, f"{recording}\t{text}")
    assert done.faults[0] == f"jasper: {name}: {what}" + (", not an audio file" if what[0] == "i" else "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_standard_output_that_is_full_is_one_line(run, recording, tmp_path):
    done = in_shell(
        '"$JASPER" transcribe "$RUN" "$FILE" --engine onnx > /dev/full',
        tmp_path,
        RUN=str(run),
        FILE=str(recording),
    )
    assert done.returncode == 2
    assert done.stderr.decode() == "jasper: No space left on device: standard output\n"


def test_the_engine_that_a_device_wants_is_named(run, recording):
    """Of `--device cuda` without PyTorch the first word was that OpenVINO has no such device."""
    code = 'import sys; sys.modules["torch"] = None; from jasper.cli import main; main()'
    command = [sys.executable, "-c", code, "transcribe", str(run), str(recording), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("jasper: engine torch is not installed")
