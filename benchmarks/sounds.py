"""A seed in, sounds in which nobody speaks out, none made as those of `music.py` are; with their manifest.

python benchmarks/sounds.py OUT [--seed 1] [--clips 8]

They were made once, after the rule that they measure was fixed: machines, signals, noises and music. Now
`jasper data sounds` makes such clips to train with, and of a network that had them these are no fresh kinds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from jasper.data.sounds.clip import Clip
from jasper.data.sounds.kinds import KINDS

CLIP = Clip(seconds=10.0, sample_rate=16000)


def main() -> None:
    """Write the sounds and OUT/sounds.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=int, default=8, help="of each kind")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (label, make) in enumerate(KINDS.items()):
        for clip in range(arguments.clips):
            rng, name = np.random.default_rng((arguments.seed, number, clip)), f"{label}-{clip:02d}"
            wave = make(rng, CLIP)
            wave *= rng.uniform(0.1, 0.8) / np.abs(wave).max()
            soundfile.write(arguments.out / f"{name}.flac", wave, CLIP.sample_rate)
            place = {"id": name, "audio_filepath": f"{name}.flac"}
            rows.append({**place, "duration": CLIP.seconds, "text": "", "label": label})
    (arguments.out / "sounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
