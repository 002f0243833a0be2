"""A folder, seconds, threads and a precision in; what each step of a transcription takes out."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import numpy as np
from infer_timing import clock

import jasper
from jasper.features import PATIENCE
from jasper.nonspeech import hush
from jasper.posteriors import Posteriors

RUNS = 15


def main() -> None:
    """Time each step of a transcription by itself."""
    folder, seconds, threads, precision = sys.argv[1:]
    model = jasper.load(Path(folder) / "model", engine="openvino", precision=precision, threads=int(threads))
    size = round(float(seconds) * model.sample_rate)
    wave = (np.random.default_rng(0).standard_normal(size) * 0.1).astype(np.float32)
    # As in a process that goes on: it has loaded all that it will.
    model.features([np.zeros(round(PATIENCE * model.sample_rate), np.float32)])
    now = clock(int(threads))
    times: dict[str, list[float]] = {"features": [], "network": [], "search": [], "writing": [], "hush": []}
    for _ in range(RUNS):
        marks = [now()]
        features = model.features([wave])
        marks.append(now())
        log_probs = model.log_probs(*features)
        marks.append(now())
        hypothesis = model.search(*log_probs)[0][0]
        marks.append(now())
        text = model.tokenizer.decode(hypothesis.tokens).strip()
        json.dumps({"text": text, "duration": float(seconds), "score": hypothesis.score})
        marks.append(now())
        for name, start, end in zip(times, marks, marks[1:], strict=False):
            times[name].append(end - start)
        # `transcribe` does that before the search, and it would have the code of NumPy ready for it.
        log_probs, _ = model.log_probs(*features)
        start = now()
        hush(Posteriors(model.tokenizer.blank, log_probs[0]), model.step_seconds)
        times["hush"].append(now() - start)
    print(json.dumps({name: statistics.median(values) for name, values in times.items()}))


if __name__ == "__main__":
    main()
