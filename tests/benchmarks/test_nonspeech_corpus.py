"""What noise is measured on was not trained on, and the benchmark counts what was heard in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from small_networks import write_small_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(*command: object) -> str:
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def test_no_kind_recording_or_way_of_making_music_is_on_both_sides_that_should_not_be(speech, tmp_path):
    """A clip of ESC-10 is kind_fold-recording-take: takes of one recording sound alike."""
    run(BENCHMARKS / "nonspeech_corpus.py", speech / "noise" / "all.jsonl", tmp_path)
    train, held_out = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "held-out")
    )
    noise = [row for row in train + held_out if not row["audio_filepath"].startswith("music/")]
    everything = (speech / "noise" / "all.jsonl").read_text().splitlines()
    assert sorted(row["id"] for row in noise) == sorted(json.loads(line)["id"] for line in everything)
    recordings = [{row["id"].rpartition("-")[0] or row["id"] for row in rows} for rows in (train, held_out)]
    assert recordings[0].isdisjoint(recordings[1])
    labels = {row["label"] for row in train}
    assert all((row["label"] in labels) == row["seen"] for row in held_out)
    assert sum(not row["seen"] for row in held_out) > 40
    assert all((tmp_path / row["audio_filepath"]).exists() for row in train + held_out)


def test_it_counts_the_clips_that_are_given_text(speech, tmp_path):
    model = write_small_model(tmp_path / "model")  # of random weights, which hear something in everything
    rows = [json.loads(line) for line in (speech / "noise" / "all.jsonl").read_text().splitlines()]
    dogs = [row for row in rows if row["label"] == "dog_bark"][:2]
    for row in dogs:
        row["audio_filepath"] = str(speech / "noise" / row["audio_filepath"])
    (tmp_path / "dogs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dogs))
    for least, count in ((0, "2"), (1000, "0")):
        *_, last = run(
            BENCHMARKS / "nonspeech.py", model, tmp_path / "dogs.jsonl", "--evidence", least
        ).splitlines()
        assert last.split()[:3] == ["all", "2", count]
