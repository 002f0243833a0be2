"""A folder, a manifest, a way, an engine in; seconds for clips of its durations, twice, and texts out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from infer_timing import clock, noise_clip, peak_mib

import jasper
from jasper.data.batches import cut_batches
from jasper.data.manifest import read_table
from jasper.evaluate import BATCH_SECONDS, BATCH_SIZE
from jasper.model import Model


def main() -> None:
    """Measure a queue, one by one as it comes or together as `jasper eval` batches it."""
    folder, manifest, clips, threads, way, engine, precision = sys.argv[1:]
    durations = read_table(manifest).durations
    durations = np.random.default_rng(0).permutation(durations)[: int(clips)]
    model = jasper.load(Path(folder) / "model", engine=engine, precision=precision, threads=int(threads))
    order = np.arange(len(durations)) if way == "one by one" else np.argsort(-durations, kind="stable")
    batches = cut_batches(durations, order, 1 if way == "one by one" else BATCH_SIZE, BATCH_SECONDS)
    rows = [noise_clip(duration)[0][0] for duration in durations]
    now, seconds = clock(int(threads)), []
    for _ in range(2):  # the first time runtimes get to know the shapes
        start = now()
        texts = _texts(model, rows, batches)
        seconds.append(now() - start)
    audio = float(durations.sum())
    print(json.dumps({"audio": audio, "seconds": seconds, "texts": texts, "peak_mib": peak_mib()}))


def _texts(model: Model, rows: list[np.ndarray], batches: list[list[int]]) -> list[str]:
    texts = [""] * len(rows)
    for batch in batches:
        lengths = np.array([rows[index].shape[1] for index in batch])
        features = np.zeros((len(batch), rows[0].shape[0], lengths.max()), dtype=np.float32)
        for place, index in enumerate(batch):
            features[place, :, : lengths[place]] = rows[index]
        for index, found in zip(batch, model.search(*model.log_probs(features, lengths)), strict=True):
            texts[index] = model.tokenizer.decode(found[0].tokens)
    return texts


if __name__ == "__main__":
    main()
