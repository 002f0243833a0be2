"""As `infer_row.py`, with NeMo's ConvASREncoder and decoder, by NeMo's Python."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from infer_timing import noise_clip, time_runs
from nemo_step import NemoStep


def main() -> None:
    """Measure NeMo's row."""
    folder, seconds, threads, name = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    with open(f"{folder}/blocks.json", encoding="utf-8") as file:  # noqa: PTH123
        step = NemoStep(json.load(file), 28, "cpu", name.endswith("bf16"))
    encoder, decoder = step.encoder.eval(), step.decoder.eval()

    @torch.inference_mode()
    def run(features: np.ndarray, lengths: np.ndarray) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=step.bf16):
            encoded, _ = encoder(audio_signal=torch.from_numpy(features), length=torch.from_numpy(lengths))
            decoder(encoder_output=encoded)

    print(json.dumps(time_runs(run, *noise_clip(seconds), threads)))


if __name__ == "__main__":
    main()
