"""The benchmark of the search runs."""

from __future__ import annotations

import itertools
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
    command = [sys.executable, BENCHMARK, "--set", run, corpus, tmp_path / "lm.arpa", 1]
    command += ["--set", run, corpus, "none", 3]
    done = subprocess.run(
        [*map(str, command), "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    kinds, weights = ("as it is", "sharpened", "flattened"), ("no LM", "no LM, a word costs 0.5", "3-gram")
    assert [(row["log_probs"], row["weights"]) for row in result["searches"]] == [
        *itertools.product(kinds, weights),
        *itertools.product(kinds, weights[:2]),  # the second set has no language model
    ]
    alone, joined = result["searches"][0], result["searches"][-1]
    assert len(joined["words"]) < len(alone["words"]) == 6
    assert sum(joined["words"]) == sum(alone["words"])
    assert all(row["seconds"] > 0 and row["wer"] >= 0 for row in result["searches"])
    assert result["first_call_s"] > 0
    assert result["threads"]["1"] > 0
