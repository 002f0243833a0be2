"""The sounds that nobody speaks are made again from their seed, and each is another one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def made(folder: Path, seed: int) -> dict[str, np.ndarray]:
    command = [sys.executable, str(BENCHMARKS / "sounds.py"), str(folder)]
    subprocess.run([*command, "--seed", str(seed), "--clips", "2"], check=True, timeout=120)
    rows = [json.loads(line) for line in (folder / "sounds.jsonl").read_text().splitlines()]
    assert all(row["text"] == "" and row["duration"] == 10.0 for row in rows)
    return {row["id"]: soundfile.read(folder / row["audio_filepath"])[0] for row in rows}


def test_a_seed_makes_the_same_sounds_and_no_two_alike(tmp_path):
    one, again, other = made(tmp_path / "1", 1), made(tmp_path / "2", 1), made(tmp_path / "3", 2)
    assert len(one) == 20
    names = sorted(one)
    for name in names:
        assert one[name].size == 160000
        assert 0.09 < np.abs(one[name]).max() < 0.81
        np.testing.assert_array_equal(one[name], again[name])
        assert np.abs(one[name] - other[name]).max() > 0.05
    for index, name in enumerate(names):
        assert all(np.abs(one[name] - one[later]).max() > 0.05 for later in names[index + 1 :])
