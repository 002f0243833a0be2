"""How long the first beam search of an installation takes, by the clock: its loops are compiled.

python benchmarks/decode_start.py [--processes 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

import numpy as np

from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.text import Tokenizer

LABELS = list(" abcdefghijklmnopqrstuvwxyz'")


def main() -> None:
    """Search in so many processes, each of which finds no compiled code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="search here, once")
    arguments = parser.parse_args()
    if arguments.alone:
        print(first_search())
        return
    seconds = []
    for _ in range(arguments.processes):
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            command = [sys.executable, __file__, "--alone"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds.append(float(done.stdout))
    print(f"{min(seconds):.2f} to {max(seconds):.2f} s, median {median(seconds):.2f}")


def first_search() -> float:
    """Seconds of searching 60 steps."""
    log_probs = np.random.default_rng(0).standard_normal((1, 60, len(LABELS) + 1)).astype(np.float32)
    log_probs -= np.log(np.exp(log_probs).sum(axis=-1, keepdims=True))
    start = time.perf_counter()
    BeamSearch(Tokenizer(LABELS), DecodeConfig(beam_width=64))(log_probs, np.array([60]))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
