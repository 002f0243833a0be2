"""`jasper stream`: raw sound on a pipe, words while the pipe is still open."""

import json
import signal
import subprocess
import threading

import numpy as np
import pytest
from tones import JASPER, SAMPLE_RATE, assert_fault, run_jasper, tones

from jasper.model import load

SECONDS = 120  # until a command that hangs is ended


@pytest.fixture(scope="module")
def wave():
    """Six utterances with pauses of a second, as int16."""
    pause = 0.003 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    texts = ["abc de", "bad cab", "ace bed"] * 2
    parts = [part for seed, text in enumerate(texts) for part in (tones(text, seed), pause)]
    return np.round(np.concatenate(parts) * 32767).astype("<i2")


def command(run, *options):
    return [JASPER, "stream", str(run), "--rate", str(SAMPLE_RATE), *options]


def expected_of(run, wave):
    """The words of a stream of the library, which may be another engine's."""
    stream = load(run).stream()
    return [word.text for word in [*stream.feed(wave.astype(np.int16)).final, *stream.finish().final]]


def test_words_of_a_pipe_and_as_json(run, wave):
    options = {"input": wave.tobytes() + b"\0", "capture_output": True, "timeout": SECONDS, "check": True}
    lines = subprocess.run(command(run), **options).stdout.decode().splitlines()
    rows = [
        json.loads(line) for line in subprocess.run(command(run, "--json"), **options).stdout.splitlines()
    ]
    words = [word["text"] for row in rows for word in row["final"]]
    assert " ".join(lines).split() == words == expected_of(run, wave)
    assert len(words) > 5
    assert any(row["partial"] for row in rows)


def test_a_line_comes_while_the_pipe_is_open(run, wave):
    with subprocess.Popen(command(run), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        guard = threading.Timer(SECONDS, process.kill)
        guard.start()
        try:
            process.stdin.write(wave.tobytes())
            process.stdin.flush()
            line = process.stdout.readline()
            assert process.poll() is None
            process.stdin.close()
            rest = process.stdout.read()
            assert process.wait(SECONDS) == 0
        finally:
            guard.cancel()
            process.kill()
    assert (line + rest).decode().split() == expected_of(run, wave)
    assert line.strip()


def test_ctrl_c_ends_the_sound_as_a_microphone_does(run, wave):
    """What was not final yet was lost."""
    sound = wave[: 5 * SAMPLE_RATE]
    with subprocess.Popen(
        command(run), **dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    ) as process:
        guard = threading.Timer(SECONDS, process.kill)
        guard.start()
        try:
            assert process.stderr.readline().startswith(b"engine: ")
            process.stdin.write(sound.tobytes())
            process.stdin.flush()
            first = process.stdout.read(1)  # it listens
            process.send_signal(signal.SIGINT)
            words = (first + process.stdout.read()).decode()
            assert process.wait(SECONDS) == 130
            assert process.stderr.read() == b""
        finally:
            guard.cancel()
            process.kill()
    assert words.endswith("\n")
    heard, expected = words.split(), expected_of(run, sound)
    assert heard
    assert heard[:-1] == expected[: len(heard) - 1]  # the last one it may have heard in part


def test_a_file_with_a_header_is_no_raw_sound(run):
    done = subprocess.run(
        command(run), input=b"RIFF0000WAVE" + bytes(9000), capture_output=True, timeout=SECONDS
    )
    assert done.returncode == 2
    assert b"jasper transcribe MODEL -" in done.stderr


@pytest.mark.parametrize("step", ["0", "inf", "nan"])
def test_a_step_that_cannot_be(run, step):
    assert_fault(run_jasper("stream", run, "--step", step), "--step", "above 0")
