"""The benchmark of the search runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tones import random_texts, recipe, write_corpus

from jasper.lm import write_arpa
from jasper.lm.build import build
from jasper.train import train

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "decode.py"


@pytest.mark.slow
def test_it_measures_every_kind_of_log_probs_without_and_with_a_model(tmp_path):
    texts = random_texts(6)
    corpus = write_corpus(tmp_path, texts)
    run = train(recipe(corpus, tmp_path / "run", data={"dev": [str(corpus)]})).directory
    write_arpa(tmp_path / "lm.arpa", build(texts, 2))
    command = [sys.executable, BENCHMARK, run, "--manifest", corpus, "--arpa", tmp_path / "lm.arpa"]
    done = subprocess.run(
        [*map(str, command), "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [(row["log_probs"], row["lm"]) for row in result["searches"]] == [
        (kind, lm) for kind in ("as it is", "sharpened", "flattened") for lm in (False, True)
    ]
    assert all(row["seconds"] > 0 and row["wer"] >= 0 for row in result["searches"])
    assert result["first_call_s"] > 0
    assert result["threads"]["1"] > 0
