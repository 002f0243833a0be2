"""A model and recordings in; how long each beam search takes over their log-probabilities, and its WER, out.

    python benchmarks/decode.py MODEL --manifest dev.jsonl --arpa words.arpa --peers PYTHON [--json]

PYTHON has pyctcdecode, flashlight-text and kenlm; each of them runs in a process of its own, on one thread,
with the same log-probabilities (as they are, sharpened and flattened), language model, weights and pruning.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jasper import load
from jasper.config import DecodeConfig
from jasper.data.dataset import read_utterance
from jasper.data.manifest import read_manifest
from jasper.decode import greedy, make_search
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.types import ErrorCounts, FloatArray

BEAM_WIDTH = 64
ALPHA = 0.7
UNKNOWN = -10 * ALPHA * math.log(10)  # for each unknown word: pyctcdecode's default
PRUNING = {"prune": 10.0, "cutoff_prob": 0.99}
SETTINGS = {"alpha": ALPHA, "beta": 0.0, "unknown": UNKNOWN, **PRUNING}
TEMPERATURES = {"as it is": 1.0, "sharpened": 0.5, "flattened": 1.5}
Rows = list[FloatArray]
Work = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = parse_options()
    model = load(options.model, device="cpu")
    rows, references = log_probs_of(model, options.manifest, options.clips)
    result: Work = {"first_call_s": first_call(), "greedy_64_clips_of_16_s_ms": greedy_ms(rows)}
    with tempfile.TemporaryDirectory() as folder:
        found = list(searches(model, rows, options, folder))
    result["searches"] = [{**row, "wer": wer(references, row.pop("texts"))} for row in found]
    result["threads"] = thread_times(model, rows, options.arpa)
    print(json.dumps(result, indent=2) if options.json else as_text(result))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model directory")
    parser.add_argument("--manifest", required=True, help="recordings with their texts")
    parser.add_argument("--arpa", type=Path, required=True, help="a word model, ARPA")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has the other toolkits")
    parser.add_argument("--clips", type=int, help="so many of the recordings; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def log_probs_of(model: Model, manifest: str, clips: int | None) -> tuple[Rows, list[str]]:
    """Log-probabilities (T, V) of each recording, and what is said in it."""
    utterances = read_manifest(manifest)[:clips]
    rows = [model.recognize([read_utterance(one, model.sample_rate)])[0].log_probs for one in utterances]
    return rows, [model.normalize(utterance.text) for utterance in utterances]


def first_call() -> float:
    """Seconds of a first search where nothing was ever compiled."""
    code = (
        "import time; import numpy as np\n"
        "from jasper.config import DecodeConfig; from jasper.decode.beam import BeamSearch\n"
        "from jasper.text import Tokenizer; search = BeamSearch(Tokenizer(' ab'), DecodeConfig())\n"
        "begin = time.perf_counter(); search(np.full((1, 9, 4), -1.4, np.float32), np.array([9]))\n"
        "print(time.perf_counter() - begin)"
    )
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def greedy_ms(rows: Rows) -> float:
    """Milliseconds of greedy search over 64 clips of 16 s, made of the rows' steps; the best of ten."""
    steps = 16 * 25
    source = np.concatenate(rows)
    batch = np.resize(source, (64, steps, source.shape[1]))
    return 1000 * best_time(lambda: greedy(batch, np.full(64, steps), source.shape[1] - 1), 10)


def best_time(run: Any, rounds: int) -> float:
    """Seconds of the fastest of so many rounds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def searches(model: Model, rows: Rows, options: argparse.Namespace, folder: str) -> Iterator[Work]:
    """Each search with each kind of log-probabilities, without and with the language model."""
    names = ["ours", *(["flashlight", "pyctcdecode"] if options.peers else [])]
    for kind, temperature in TEMPERATURES.items():
        warmed = [tempered(row, temperature) for row in rows]
        np.savez(Path(folder) / "rows.npz", *warmed)
        for arpa in (None, options.arpa):
            for name in names:
                if name == "ours":
                    found = ours(model, warmed, arpa, options.rounds)
                else:
                    work = {
                        **SETTINGS,
                        "beam_width": BEAM_WIDTH,
                        "labels": model.tokenizer.labels,
                        "rows": str(Path(folder) / "rows.npz"),
                        "arpa": str(arpa.resolve()) if arpa else None,
                        "rounds": options.rounds,
                    }
                    found = peer(name, work, options.peers)
                yield {"search": name, "log_probs": kind, "lm": arpa is not None, **found}


def tempered(log_probs: FloatArray, temperature: float) -> FloatArray:
    """Log-probabilities whose logarithms are divided by a temperature."""
    logits = log_probs / temperature
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def ours(model: Model, rows: Rows, arpa: Path | None, rounds: int, threads: int = 1) -> Work:
    """Seconds and texts of this project's search."""
    settings = {**(SETTINGS if arpa else PRUNING), "lm": arpa, "beam_width": BEAM_WIDTH, "threads": threads}
    config = DecodeConfig.model_validate({"search": "beam", **settings})
    search = make_search(config, model.tokenizer)
    lengths = np.array([len(row) for row in rows])
    batch = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), np.float32)
    for row, (log_probs, length) in enumerate(zip(rows, lengths, strict=True)):
        batch[row, :length] = log_probs
    found = search(batch, lengths)  # the first call is not counted, nor is the peers'
    seconds = best_time(lambda: search(batch, lengths), rounds)
    return {
        "seconds": seconds,
        "texts": [model.tokenizer.decode(best.tokens).strip() for best, *_ in found],
    }


def peer(name: str, work: Work, python: str) -> Work:
    """The same of another toolkit, in its own environment."""
    command = [python, str(Path(__file__).with_name("peer_decode.py")), name]
    done = subprocess.run(command, input=json.dumps(work), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"decode.py: {name} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def thread_times(model: Model, rows: Rows, arpa: Path) -> dict[int, float]:
    """Seconds with the language model on one thread, on two, and so on up to the processor's cores."""
    counts = [count for count in (1, 2, 4, 8, 16) if count <= (os.cpu_count() or 1)]
    return {count: ours(model, rows, arpa, 3, count)["seconds"] for count in counts}


def wer(references: list[str], texts: list[str]) -> float:
    """Word error rate."""
    counts = [count_errors(one.split(), other.split()) for one, other in zip(references, texts, strict=True)]
    return sum(counts, ErrorCounts()).rate


def as_text(result: Work) -> str:
    """The result as lines."""
    lines = [
        f"first call {result['first_call_s']:.2f} s; "
        f"greedy, 64 clips of 16 s: {result['greedy_64_clips_of_16_s_ms']:.1f} ms"
    ]
    lines += [f"{count} threads: {seconds:.3f} s" for count, seconds in result["threads"].items()]
    for row in result["searches"]:
        kind = f"{row['log_probs']:10} {'3-gram' if row['lm'] else 'no LM':7} {row['search']:12}"
        lines.append(f"{kind} {row['seconds']:8.3f} s  WER {row['wer']:.2%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
