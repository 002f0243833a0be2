"""A model and a manifest of clips in; what they lose when joined to long recordings, and the memory out.

python benchmarks/long.py MODEL MANIFEST [--minutes 1 10 60] [--noise-db -60] [--hours 3]

The clips, repeated as needed, are joined with pauses of 0.5 to 2 s. WER is of the whole text of a recording
against the whole text of its clips' references; the clips' own is counted the same way. Times are of words
that are recognised alike in both. With --hours a process of its own transcribes a recording of that length.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from rapidfuzz.distance import Levenshtein

import jasper
from jasper.audio import read_audio
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.types import FloatArray, Transcript, Word

PAUSE_S = (0.5, 2.0)
CLOSE_S = 0.040


@dataclass(frozen=True)
class Clip:
    """A clip, what is said in it and what was recognised of it alone."""

    wave: FloatArray
    text: str
    heard: Transcript


def main() -> None:
    """Print a row a length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifest")
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 10, 60])
    parser.add_argument("--noise-db", type=float, help="of noise in the pauses; without it they are silent")
    parser.add_argument("--hours", type=float, help="of a recording whose memory is measured")
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
    print("minutes  clips  WER alone  WER joined  relative  words in 40 ms  in 80 ms  times real time")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        for minutes in arguments.minutes:
            joined = _write(path, clips, minutes * 60, model.sample_rate, level)
            _compare(model, path, minutes, joined)
        if arguments.hours:
            _write(path, clips, arguments.hours * 3600, model.sample_rate, level)
            subprocess.run(
                [sys.executable, __file__, arguments.model, "-", "--memory-of", str(path)], check=True
            )


def _write(
    path: Path, clips: list[Clip], seconds: float, rate: int, level: float
) -> list[tuple[float, Clip]]:
    """Write so many seconds of clips and pauses; return where each clip begins (s)."""
    rng, joined, samples = np.random.default_rng(0), [], 0
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for clip in cycle(clips):
            if samples >= seconds * rate:
                return joined
            pause = level * rng.standard_normal(round(rng.uniform(*PAUSE_S) * rate))
            file.write(clip.wave)
            file.write(pause)
            joined.append((samples / rate, clip))
            samples += clip.wave.size + pause.size
    raise AssertionError("cycle ends only where there is no clip")


def _compare(model: Model, path: Path, minutes: float, joined: list[tuple[float, Clip]]) -> None:
    begun = time.perf_counter()
    found = model.transcribe(path, words=True)
    rate = found.duration / (time.perf_counter() - begun)
    reference = " ".join(clip.text for _, clip in joined).split()
    alone = count_errors(reference, " ".join(clip.heard.text for _, clip in joined).split()).rate
    together = count_errors(reference, found.text.split()).rate
    expected = [
        replace(word, start=word.start + start, end=word.end + start)
        for start, clip in joined
        for word in clip.heard.words
    ]
    apart = np.array(list(_apart(expected, found.words)))
    close = [float((apart <= bound + 1e-6).mean()) for bound in (CLOSE_S, 2 * CLOSE_S)]
    print(
        f"{minutes:7g}  {len(joined):5}  {alone:9.2%}  {together:10.2%}  {together / alone - 1:8.2%}"
        f"  {close[0]:14.1%}  {close[1]:8.1%}  {rate:15.0f}",
        flush=True,
    )


def _apart(expected: list[Word], found: tuple[Word, ...]):
    """How far (s) the starts and the ends of the words lie apart that were recognised alike."""
    blocks = Levenshtein.opcodes([word.text for word in expected], [word.text for word in found])
    for block in blocks:
        if block.tag == "equal":
            for one, other in zip(
                expected[block.src_start : block.src_end],
                found[block.dest_start : block.dest_end],
                strict=True,
            ):
                yield abs(one.start - other.start)
                yield abs(one.end - other.end)


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
