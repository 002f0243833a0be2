"""A model and manifests of noise and music in; how many clips are given text, and how much, by kind, out.

python benchmarks/nonspeech.py MODEL MANIFEST… [--evidence NATS] [--show]

The rows are those of `nonspeech_corpus.py`: their "label" is the kind.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import jasper
from jasper.config import DecodeConfig


def main() -> None:
    """Print a row a kind, and one for all of a manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--evidence", type=float, help="as of `jasper transcribe`")
    parser.add_argument("--show", action="store_true", help="what was heard, clip by clip")
    arguments = parser.parse_args()
    model = jasper.load(arguments.model, decode=DecodeConfig(evidence=arguments.evidence))
    for manifest in arguments.manifests:
        heard: dict[str, list[str]] = defaultdict(list)
        seconds: dict[str, float] = defaultdict(float)
        for line in manifest.read_text().splitlines():
            row = json.loads(line)
            transcript = model.transcribe(manifest.parent / row["audio_filepath"])
            heard[row["label"]].append(transcript.text)
            seconds[row["label"]] += transcript.duration
            if arguments.show and transcript.text:
                print(f"{row['id']:28}  {transcript.text}")
        print(f"{manifest.name:20}  clips  with text  words  letters a minute")
        for kind in heard:
            _print(kind, heard[kind], seconds[kind])
        _print("all", [text for texts in heard.values() for text in texts], sum(seconds.values()))


def _print(kind: str, texts: list[str], seconds: float) -> None:
    words = sum(len(text.split()) for text in texts)
    letters = 60 * sum(map(len, texts)) / seconds
    print(f"{kind:20}  {len(texts):5}  {sum(map(bool, texts)):9}  {words:5}  {letters:16.1f}", flush=True)


if __name__ == "__main__":
    main()
