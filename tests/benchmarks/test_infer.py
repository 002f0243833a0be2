"""The benchmark of inference runs, each row in a process of its own, and says where there is no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tones import random_texts, write_corpus

INFER = Path(__file__).resolve().parents[2] / "benchmarks" / "infer.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so():
    command = [sys.executable, str(INFER), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no CUDA device here" in done.stderr


@pytest.mark.slow
def test_it_measures_rows_and_parts(tmp_path):
    corpus = write_corpus(tmp_path, random_texts(6))
    command = [sys.executable, str(INFER), "--network", "tiny", "--small", "tiny", "--manifest", str(corpus)]
    command += ["--rounds", "1", "--seconds", "2", "--clips", "4", "--only", "eager", "jasper onnx", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["rows"]) == {"eager fp32", "eager bf16", "jasper onnx fp32", "jasper onnx int8"}
    for row in result["rows"].values():
        assert row["times_real_time"] == pytest.approx(2 / row["seconds"])
        assert row["peak_mib"] > 30
    alone, together = (result["parts"]["queue"][way][0] for way in ("one by one", "together"))
    assert alone["texts"] == together["texts"]
    assert len(alone["texts"]) == 4
