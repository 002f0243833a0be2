"""A model and a manifest of clips in; what they lose when joined to long recordings, and the memory out.

python benchmarks/long.py MODEL MANIFEST [--minutes 1 10 60] [--noise-db -60] [--on-steps] [--hours 3]
    [--show]

The clips are joined with pauses of 0.5 to 2 s into as many recordings of a length as hold all of them; the
last is filled up with the first clips again. WER is of the whole text of a recording against the whole text
of its clips' references, summed over recordings; the clips' own is counted the same way. Times are of words
that are recognised alike in both. With --hours a process of its own transcribes a recording of that length.

First come the clips one by one again, each a little later: a network whose step is 40 ms does not say the
same of them, and a recording cannot be nearer to its clips than they are to themselves. With --on-steps
every clip begins on a whole step of its recording, so that what is left is what the cutting costs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from rapidfuzz.distance import Levenshtein

import jasper
from jasper.audio import read_audio
from jasper.metrics import ErrorCounts, count_errors
from jasper.model import Model
from jasper.types import FloatArray, Transcript, Word

PAUSE_S = (0.5, 2.0)
CLOSE_S = 0.040
DELAYS_S = (0.01, 0.02, 0.03, 0.04)


@dataclass(frozen=True)
class Clip:
    """A clip, what is said in it and what was recognised of it alone."""

    wave: FloatArray
    text: str
    heard: Transcript


Recording = list[tuple[Clip, int]]  # clips, each with the samples of the pause after it


@dataclass(frozen=True)
class Compared:
    """A recording's errors and words beside those of its clips alone."""

    num_clips: int
    num_words: int  # that were recognised in the clips alone
    alone: ErrorCounts
    joined: ErrorCounts
    alike: list[tuple[Word, Word]]  # as in the clip, and in the recording
    duration: float
    seconds: float  # that it took


def main() -> None:
    """Print a row a length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 10, 60])
    parser.add_argument("--noise-db", type=float, help="of noise in the pauses; without it they are silent")
    parser.add_argument("--hours", type=float, help="of a recording whose memory is measured")
    parser.add_argument("--show", action="store_true", help="the words that are further apart than 40 ms")
    parser.add_argument("--on-steps", action="store_true", help="clips begin on the network's steps")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        _print_memory(arguments.model, arguments.memory_of)
        return
    model = jasper.load(arguments.model)
    clips = [
        Clip(wave, model.normalize(utterance.text), model.transcribe(wave, words=True))
        for utterance in jasper.read_manifest(arguments.manifest)
        for wave in [read_audio(utterance.path, model.sample_rate)]
    ]
    level = 0.0 if arguments.noise_db is None else 10 ** (arguments.noise_db / 20)
    grid = round(model.step_seconds * model.sample_rate) if arguments.on_steps else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        _measure(model, clips, path, arguments.minutes, level, grid, arguments.show)
        if arguments.hours:
            recording = next(_recordings(clips, arguments.hours * 3600, model.sample_rate, grid))
            _write(path, recording, model.sample_rate, level)
            subprocess.run(
                [sys.executable, __file__, arguments.model, "-", "--memory-of", str(path)], check=True
            )


def _measure(
    model: Model, clips: list[Clip], path: Path, lengths: list[float], level: float, grid: int, show: bool
) -> None:
    print(
        "             files  clips  WER alone  joined  relative  words alike  in 40 ms  in 80 ms  × real time"
    )
    for delay in DELAYS_S:
        lead, found = round(delay * model.sample_rate), []
        for clip in clips:
            _write(path, [(clip, 0)], model.sample_rate, level, lead)
            found.append(_compare(model, path, [(clip, 0)], lead))
        _print(f"{1000 * delay:.0f} ms later", found, show)
    for minutes in lengths:
        found = []
        for recording in _recordings(clips, minutes * 60, model.sample_rate, grid):
            _write(path, recording, model.sample_rate, level)
            found.append(_compare(model, path, recording))
        _print(f"{minutes:g} min", found, show)


def _recordings(clips: list[Clip], seconds: float, rate: int, grid: int) -> Iterator[Recording]:
    """Clips in order, each with the samples of the pause after it, until every clip was in a recording.

    All begin on a multiple of `grid` samples.
    """
    rng, joined, samples = np.random.default_rng(0), Recording(), 0
    for index, clip in enumerate(cycle(clips)):
        if samples >= seconds * rate:
            yield joined
            joined, samples = Recording(), 0
            if index >= len(clips):
                return
        pause = round(rng.uniform(*PAUSE_S) * rate)
        joined.append((clip, pause + -(clip.wave.size + pause) % grid))
        samples += clip.wave.size + joined[-1][1]


def _write(path: Path, joined: Recording, rate: int, level: float, lead: int = 0) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        file.write(np.zeros(lead))
        for clip, pause in joined:
            file.write(clip.wave)
            file.write(level * rng.standard_normal(pause))


def _compare(model: Model, path: Path, joined: Recording, lead: int = 0) -> Compared:
    begun = time.perf_counter()
    found = model.transcribe(path, words=True)
    seconds = time.perf_counter() - begun
    reference = " ".join(clip.text for clip, _ in joined).split()
    expected, start = list[Word](), lead / model.sample_rate
    for clip, pause in joined:
        expected += [replace(w, start=w.start + start, end=w.end + start) for w in clip.heard.words]
        start += (clip.wave.size + pause) / model.sample_rate
    return Compared(
        num_clips=len(joined),
        num_words=len(expected),
        alone=count_errors(reference, [word.text for word in expected]),
        joined=count_errors(reference, found.text.split()),
        alike=list(_alike(expected, found.words)),
        duration=found.duration,
        seconds=seconds,
    )


def _alike(expected: list[Word], found: tuple[Word, ...]) -> Iterator[tuple[Word, Word]]:
    """The words that were recognised alike, as they were in the clip and in the recording."""
    for block in Levenshtein.opcodes([word.text for word in expected], [word.text for word in found]):
        if block.tag == "equal":
            source, dest = slice(block.src_start, block.src_end), slice(block.dest_start, block.dest_end)
            yield from zip(expected[source], found[dest], strict=True)


def _print(name: str, found: list[Compared], show: bool) -> None:
    alone, joined = (
        sum(counts, ErrorCounts()) for counts in zip(*((f.alone, f.joined) for f in found), strict=True)
    )
    pairs = [pair for one in found for pair in one.alike]
    apart = np.array([[one.start - other.start, one.end - other.end] for one, other in pairs])
    close = [float((np.abs(apart) <= bound + 1e-6).mean()) for bound in (CLOSE_S, 2 * CLOSE_S)]
    words = sum(one.num_words for one in found)
    rate = sum(one.duration for one in found) / sum(one.seconds for one in found)
    print(
        f"{name:11}  {len(found):5}  {sum(one.num_clips for one in found):5}  {alone.rate:9.2%}"
        f"  {joined.rate:6.2%}  {joined.rate / alone.rate - 1:8.2%}  {len(pairs) / words:11.1%}"
        f"  {close[0]:8.2%}  {close[1]:8.2%}  {rate:11.0f}",
        flush=True,
    )
    if show:
        for (one, other), far in zip(pairs, np.abs(apart).max(axis=1), strict=True):
            if far > CLOSE_S + 1e-6:
                print(f"    {one.text:12} {_span(one)} alone, {_span(other)} in the recording")


def _span(word: Word) -> str:
    return f"{word.start:.2f} to {word.end:.2f} s"


def _print_memory(model_path: str, path: str) -> None:
    model = jasper.load(model_path)
    model.transcribe(
        np.random.default_rng(0).standard_normal(model.sample_rate).astype(np.float32), words=True
    )
    before, begun = _peak(), time.perf_counter()
    found = model.transcribe(path, words=True)
    seconds = time.perf_counter() - begun
    print(
        f"{found.duration / 3600:.2f} h in {seconds:.0f} s, {found.duration / seconds:.0f} times real time; "
        f"{len(found.words)} words; peak {_peak():.0f} MiB, {before:.0f} MiB after the first second"
    )


def _peak() -> float:
    """MiB of this process, at its largest; getrusage would count the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
