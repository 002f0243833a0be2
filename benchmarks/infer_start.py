"""A folder, a precision and seconds in; how long a process takes from its start to the text of a clip out."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RUNS = 5


def main() -> None:
    """Time `jasper transcribe` from outside."""
    folder, precision, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with tempfile.TemporaryDirectory() as temporary:
        clip = Path(temporary) / "clip.wav"
        wave = np.random.default_rng(0).standard_normal(round(seconds * 16000)) * 0.1
        soundfile.write(clip, wave, 16000)
        command = [sys.executable, "-m", "jasper", "transcribe", str(folder / "model"), str(clip)]
        command += ["--engine", "openvino", "--precision", precision]
        times = []
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(times[1:])}))


if __name__ == "__main__":
    main()
