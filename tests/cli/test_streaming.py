"""`jasper stream`: raw sound on a pipe, words while the pipe is still open."""

import json
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


def test_a_step_that_cannot_be(run):
    assert_fault(run_jasper("stream", run, "--step", "0"), "--step", "above 0")
