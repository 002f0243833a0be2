"""Many recordings: the bar moves with the sound that is done, in this process and in others."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_networks import write_small_model
from test_model import sound
from tones import JASPER
from typer.testing import CliRunner

import jasper
from jasper import jobs
from jasper.cli.app import app
from jasper.errors import AudioError

RATE = 16000
SECONDS = (150.0, 1.5, 210.0)  # of the recordings; the first and the last are many utterances


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> list[Path]:
    """Three that are whole, and one behind them that breaks off after a third."""
    folder = tmp_path_factory.mktemp("recordings")
    pause = np.zeros(RATE, dtype=np.float32)
    paths = []
    for number, seconds in enumerate((*SECONDS, 30.0)):
        spoken = [part for seed in range(round(seconds / 3)) for part in (sound(2, seed), pause)]
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], np.concatenate(spoken if seconds > 2 else [sound(seconds)]), RATE)
    data = paths[-1].read_bytes()
    paths[-1].write_bytes(data[: len(data) // 3])
    return paths


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_the_bar_moves_with_the_sound_and_ends_with_all_of_it(directory, recordings, monkeypatch, num_jobs):
    """It moved by files: with one of three hours among them it stood still."""
    bars, moves = [], []

    @contextmanager
    def bar(description, total):
        bars.append(total)
        yield lambda amount, description: moves.append(amount)

    monkeypatch.setattr(jobs, "is_drawn", lambda: True)
    monkeypatch.setattr(jobs, "progress_bar", bar)
    monkeypatch.setattr(jobs, "POLL_S", 0.001)
    load = partial(jasper.load, directory, threads=1)
    results = list(jobs.transcribe_each(load, recordings, jobs.Asked(), num_jobs))
    assert [isinstance(result, AudioError) for result in results] == [False, False, False, True]
    assert bars == [pytest.approx(sum(SECONDS) + 30)]
    assert sum(moves) == pytest.approx(bars[0])
    assert sum(move > 0 for move in moves) > len(recordings)


def test_of_recordings_whose_length_nobody_knows_the_bar_has_no_end(directory, recordings, monkeypatch):
    bars = []

    @contextmanager
    def bar(description, total):
        bars.append(total)
        yield lambda amount, description: None

    monkeypatch.setattr(jobs, "is_drawn", lambda: True)
    monkeypatch.setattr(jobs, "progress_bar", bar)
    sources = [recordings[1], f"local://{recordings[1]}"]
    results = list(jobs.transcribe_each(partial(jasper.load, directory), sources, jobs.Asked()))
    assert results[0].text == results[1].text
    assert bars == [None]


@pytest.mark.parametrize(("num_files", "num_jobs"), [(1, 1), (3, 3)])
def test_no_more_processes_than_recordings_share_the_processor(
    directory, recordings, monkeypatch, num_files, num_jobs
):
    """With --jobs 8 a single recording was transcribed by an eighth of the processor."""
    asked = []

    def transcribe_each(load, sources, what, jobs):
        asked.append((load.func.__self__.threads, jobs))
        return [AudioError("")] * len(sources)

    monkeypatch.setattr(jobs, "transcribe_each", transcribe_each)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    paths = [str(path) for path in recordings[:num_files]]
    done = CliRunner().invoke(app, ["transcribe", str(directory), *paths, "--jobs", "8"])
    assert done.exit_code == 1
    assert asked == [(None if num_files == 1 else 8 // num_files, num_jobs)]


@pytest.mark.parametrize("num_jobs", ["1", "2"])
def test_lines_on_a_terminal_stand_by_themselves(directory, recordings, num_jobs):
    """They were printed behind the bar, in its line."""
    pty = pytest.importorskip("pty")
    reader, terminal = pty.openpty()
    command = [JASPER, "transcribe", directory, *recordings, "--jobs", num_jobs]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        data = b""
        while block := _read(reader):
            data += block
        assert process.wait(120) == 1
    os.close(reader)
    for line in [f"{path}\t" for path in recordings[:3]] + [f"jasper: {recordings[3]}: "]:
        begin = re.escape(line.encode().expandtabs()[:60])
        assert re.search(rb"(\x1b\[2K|\n)" + begin, data.expandtabs()), data
    assert re.search(r"\d of 4, [\d,]+ × real time".encode(), data)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""
