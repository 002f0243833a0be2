"""The noise of ESC-10 and Speech Commands in, what of it is trained on and what is kept for measuring out.

python benchmarks/nonspeech_corpus.py MANIFEST OUT

Writes OUT/train.jsonl (noise and music to train with) and OUT/held-out.jsonl. Of ESC-10 three whole
categories, and of the others fold 4 (no recording is in two folds), are held out, of the backgrounds one; the
music that is held out is made in other ways than that which is trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from music import RATE, drum_loop, fm_music, plucked_music, training_music

UNSEEN = ("rooster", "person_sneeze", "chainsaw", "dude_miaowing")
HELD_OUT_FOLD = "4"
MUSIC = {"fm": fm_music, "plucked": plucked_music, "drums": drum_loop}
NUM_TRAINING, NUM_HELD_OUT, MUSIC_S = 40, 8, 10.0


def main() -> None:
    """Write the two manifests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out: Path = arguments.out
    (out / "music").mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in arguments.manifest.read_text().splitlines()]
    for row in rows:
        row["audio_filepath"] = str((arguments.manifest.parent / row["audio_filepath"]).absolute())
    train = [row for row in rows if not _is_held_out(row)]
    train += [_music(out, "music", seed, training_music(MUSIC_S, seed)) for seed in range(NUM_TRAINING)]
    held_out = [{**row, "seen": row["label"] not in UNSEEN} for row in rows if _is_held_out(row)]
    for name, make in MUSIC.items():
        held_out += [
            {**_music(out, name, seed, make(MUSIC_S, seed)), "seen": False} for seed in range(NUM_HELD_OUT)
        ]
    for name, chosen in (("train", train), ("held-out", held_out)):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
        print(f"{name}: {len(chosen)} clips, {sum(row['duration'] for row in chosen):.0f} s")


def _is_held_out(row: dict[str, Any]) -> bool:
    return row["label"] in UNSEEN or row["id"].startswith(f"{row['label']}_{HELD_OUT_FOLD}-")


def _music(out: Path, label: str, seed: int, wave: np.ndarray) -> dict[str, Any]:
    name = f"{label}-{seed:02d}"
    soundfile.write(out / "music" / f"{name}.flac", wave, RATE)
    return {
        "id": name,
        "audio_filepath": f"music/{name}.flac",
        "duration": wave.size / RATE,
        "text": "",
        "label": label,
    }


if __name__ == "__main__":
    main()
