"""A model and manifests in; what aligning hours of their clips, joined, takes, and where its words are, out.

    python benchmarks/align.py MODEL MANIFEST... [--hours 1] [--json]

Each word's start is compared with the one that the alignment of its clip alone gives.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from jasper import load
from jasper.align import align, align_log_probs, log_probs_of
from jasper.blocks import audio_blocks
from jasper.data.dataset import read_utterance
from jasper.data.manifest import read_manifest
from jasper.model import Model
from jasper.types import Utterance

PAUSE_S = 0.5  # between two clips


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model directory")
    parser.add_argument("manifests", nargs="+", help="clips with their texts")
    parser.add_argument("--hours", type=float, default=1.0, help="of clips, in an order drawn by chance")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = load(options.model, device="cpu")
    clips = choose([one for path in options.manifests for one in read_manifest(path)], options.hours)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.flac"
        offsets = join(model, clips, path)
        result = measure(model, path, clips, offsets)
    print(json.dumps(result, indent=2) if options.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


def choose(clips: Sequence[Utterance], hours: float) -> list[Utterance]:
    """So many hours of clips, each at most once."""
    order = np.random.default_rng(0).permutation(len(clips))
    ends = np.cumsum([clips[index].duration for index in order])
    return [clips[index] for index in order[: 1 + np.searchsorted(ends, 3600 * hours)]]


def join(model: Model, clips: Sequence[Utterance], path: Path) -> list[float]:
    """Write the clips to one file, with pauses between them; where each begins, in seconds."""
    pause, offsets, written = np.zeros(round(PAUSE_S * model.sample_rate), np.float32), [], 0
    with soundfile.SoundFile(path, "w", model.sample_rate, 1) as file:
        for clip in clips:
            offsets.append(written / model.sample_rate)
            wave = np.concatenate([read_utterance(clip, model.sample_rate), pause])
            file.write(wave)
            written += wave.size
    return offsets


def measure(model: Model, path: Path, clips: Sequence[Utterance], offsets: Sequence[float]) -> dict[str, Any]:
    """Times, memory, and distances of the words' starts."""
    align_log_probs(model, np.full((9, model.tokenizer.blank + 1), -3.3, np.float32), "a")  # compiles
    begin = time.perf_counter()
    log_probs = log_probs_of(model, audio_blocks(path, model.sample_rate))
    network = time.perf_counter()
    found = align_log_probs(model, log_probs, " ".join(clip.text for clip in clips))
    end, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone = [align(model, read_utterance(clip, model.sample_rate), clip.text) for clip in clips]
    expected = [word.start + offset for words, offset in zip(alone, offsets, strict=True) for word in words]
    distance = np.abs(np.array([word.start for word in found]) - expected)
    return {
        "hours": round(len(log_probs) * model.step_seconds / 3600, 3),
        "words": len(found),
        "network_s": round(network - begin, 2),
        "alignment_s": round(end - network, 2),
        "peak_mib": round(peak),
        "within_one_step": round(float((distance < 1.5 * model.step_seconds).mean()), 4),
        "within_0.2_s": round(float((distance < 0.2).mean()), 4),
        "median_s": round(float(np.median(distance)), 3),
        "largest_s": round(float(distance.max()), 2),
    }


if __name__ == "__main__":
    main()
