"""Models and recordings in; seconds and WER of each beam search over their log-probabilities out.

    python benchmarks/decode.py --set MODEL MANIFEST ARPA JOIN [--set …] --peers PYTHON [--json]

A set is a model directory, its recordings, a word model (ARPA, or `none`), and how many clips of a speaker
at most become one recording (1: as they are). PYTHON has pyctcdecode, flashlight-text and kenlm; each of them
runs in a process of its own, on one thread, with the same log-probabilities (as they are, sharpened and
flattened), language model, weights and pruning.
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
from typing import Any, NamedTuple

import numpy as np
from decode_summary import Found, as_text, pooled

from jasper import load
from jasper.config import DecodeConfig, JoinConfig
from jasper.data.dataset import read_utterance
from jasper.data.join import join_clips
from jasper.data.manifest import read_manifest
from jasper.decode import greedy, make_search
from jasper.metrics import count_errors
from jasper.text import Tokenizer
from jasper.types import FloatArray

BEAM_WIDTH = 64
ALPHA = 0.7
UNKNOWN = -10 * ALPHA * math.log(10)  # for each unknown word: pyctcdecode's default
SETTINGS = {"beam_width": BEAM_WIDTH, "prune": 10.0, "cutoff_prob": 0.99}
WEIGHTS = {
    "no LM": {"alpha": 0.0, "beta": 0.0},
    "no LM, a word costs 0.5": {"alpha": 0.0, "beta": -0.5},
    "3-gram": {"alpha": ALPHA, "beta": 0.0, "unknown": UNKNOWN},
}
# Each with the weights that it has: pyctcdecode has none without a language model.
PEERS = {"flashlight": list(WEIGHTS), "pyctcdecode": ["no LM", "3-gram"]}
TEMPERATURES = {"as it is": 1.0, "sharpened": 0.5, "flattened": 1.5}
Rows = list[FloatArray]
Work = dict[str, Any]


class Speech(NamedTuple):
    """Log-probabilities of recordings, and what is said in them."""

    name: str
    tokenizer: Tokenizer
    rows: Rows  # (T, V) of each
    references: list[str]
    recordings: list[str]  # which they are, whatever the model
    arpa: Path | None


def main() -> None:
    """Measure and print."""
    options = parse_options()
    speech = [read_speech(*fields, options.clips) for fields in options.set]
    first = speech[0]
    result: Work = {"first_call_s": first_call(), "greedy_64_clips_of_16_s_ms": greedy_ms(first.rows)}
    counts = [count for count in (1, 2, 4, 8, 16) if count <= (os.cpu_count() or 1)]
    result["threads"] = {
        count: ours(first.tokenizer, first.rows, work_of(first, "3-gram"), 3, count)[0] for count in counts
    }
    found = [one for part in speech for one in searches(part, options)]
    result["searches"] = [one.as_dict() for one in found]
    result["pooled"] = pooled(found)
    print(json.dumps(result, indent=2) if options.json else as_text(result))


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    fields = ("MODEL", "MANIFEST", "ARPA", "JOIN")
    parser.add_argument("--set", action="append", nargs=4, required=True, metavar=fields)
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has the other toolkits")
    parser.add_argument("--clips", type=int, help="so many recordings of each set; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def read_speech(path: str, manifest: str, arpa: str, join: str, clips: int | None) -> Speech:
    """Run a model on the recordings of a set."""
    model, utterances = load(path, device="cpu"), read_manifest(manifest)
    if int(join) > 1:
        utterances = join_clips(utterances, JoinConfig(max_clips=int(join)), seed=0, epoch=0)
    utterances = utterances[:clips]
    waves = (read_utterance(utterance, model.sample_rate) for utterance in utterances)
    return Speech(
        f"{path}, {manifest}",
        model.tokenizer,
        [model.recognize([wave])[0].log_probs for wave in waves],
        [model.normalize(utterance.text) for utterance in utterances],
        [f"{manifest} {utterance.id}" for utterance in utterances],
        None if arpa == "none" else Path(arpa).resolve(),
    )


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


def searches(speech: Speech, options: argparse.Namespace) -> Iterator[Found]:
    """Each search with each kind of log-probabilities and all weights."""
    for kind, temperature in TEMPERATURES.items():
        rows = [tempered(row, temperature) for row in speech.rows]
        for weights in WEIGHTS:
            work = work_of(speech, weights)
            if weights == "3-gram" and work["arpa"] is None:
                continue
            found = {"ours": ours(speech.tokenizer, rows, work, options.rounds)}
            for name in PEERS if options.peers else ():
                if weights in PEERS[name]:
                    found[name] = peer(name, rows, {**work, "rounds": options.rounds}, options.peers)
            for name, (seconds, texts) in found.items():
                errors = errors_of(speech.references, texts)
                words = [len(reference.split()) for reference in speech.references]
                yield Found(speech.name, kind, weights, name, seconds, speech.recordings, errors, words)


def work_of(speech: Speech, weights: str) -> Work:
    """What a search is to do: settings as this project calls them, labels, and the language model."""
    arpa = str(speech.arpa) if weights == "3-gram" and speech.arpa else None
    return {**SETTINGS, **WEIGHTS[weights], "labels": speech.tokenizer.labels, "arpa": arpa}


def tempered(log_probs: FloatArray, temperature: float) -> FloatArray:
    """Log-probabilities whose logarithms are divided by a temperature."""
    logits = log_probs / temperature
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def ours(
    tokenizer: Tokenizer, rows: Rows, work: Work, rounds: int, threads: int = 1
) -> tuple[float, list[str]]:
    """Seconds and texts of this project's search."""
    settings = {key: value for key, value in work.items() if key not in ("labels", "arpa")}
    config = DecodeConfig.model_validate(
        {"search": "beam", **settings, "lm": work["arpa"], "threads": threads}
    )
    search = make_search(config, tokenizer)
    lengths = np.array([len(row) for row in rows])
    batch = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), np.float32)
    for row, (log_probs, length) in enumerate(zip(rows, lengths, strict=True)):
        batch[row, :length] = log_probs
    found = search(batch, lengths)  # the first call is not counted, nor is the peers'
    seconds = best_time(lambda: search(batch, lengths), rounds)
    return seconds, [tokenizer.decode(best.tokens).strip() for best, *_ in found]


def peer(name: str, rows: Rows, work: Work, python: str) -> tuple[float, list[str]]:
    """The same of another toolkit, in its own environment."""
    command = [python, str(Path(__file__).with_name("peer_decode.py")), name]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", *rows)
        given = json.dumps({**work, "rows": f"{folder}/rows.npz"})
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"decode.py: {name} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return result["seconds"], result["texts"]


def errors_of(references: list[str], texts: list[str]) -> list[int]:
    """Word errors of each text."""
    pairs = zip(references, texts, strict=True)
    return [count_errors(reference.split(), text.split()).errors for reference, text in pairs]


if __name__ == "__main__":
    main()
