"""The benchmark runs, and its plain network is ours: same formula, same count of operations."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tones import random_texts, write_corpus
from torch.utils.flop_counter import FlopCounterMode

from jasper.nn.network import expand
from jasper.nn.weights import build_network
from jasper.recipe import load_config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from reference_step import ReferenceNetwork  # noqa: E402
from workload import forward_flops  # noqa: E402


def run_benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / "train.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_measures_both_and_their_ratio(tmp_path):
    corpus = write_corpus(tmp_path, random_texts(12))
    done = run_benchmark(
        "--network", "tiny", "--manifest", corpus, "--rounds", 1, "--batch-seconds", 4, "--json",
        "--set", "train.precision=fp32", "features.sample_rate=8000",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    ours, reference = result["measured"]["ours"], result["measured"]["reference"]
    ratio = ours["audio_s_per_s"] / reference["audio_s_per_s"]
    assert result["ours_times_faster_than"] == {"reference": pytest.approx(ratio)}
    for row in (ours, reference):
        assert 0 < row["share_of_fp32_peak"] < 1
        assert 0 <= row["padding"] < 1
        assert row["peak_mib"] > 100


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so():
    done = run_benchmark("--device", "cuda")
    assert done.returncode == 1
    assert "no CUDA device here" in done.stderr


def _our_name(name: str) -> str:
    layers = {"0": "residual_convs", "1": "residual_norms"}
    return re.sub(r"residual\.(\d+)\.([01])", lambda found: f"{layers[found[2]]}.{found[1]}", name)


@pytest.mark.parametrize("preset", ["tiny", "quartznet5x5"])
def test_the_plain_network_computes_what_ours_does(preset):
    config = load_config(preset)
    ours = build_network(config.model).eval()
    plain = ReferenceNetwork([block.model_dump() for block in expand(config.network.blocks)], 29).eval()
    weights = ours.state_dict()
    # The residual's layers alone are called otherwise.
    renamed = {name: weights[_our_name(name)] for name in plain.state_dict()}
    assert len(renamed) == len(weights)
    plain.load_state_dict(renamed)
    x, lengths = torch.randn(2, 64, 120), torch.tensor([120, 77])
    with torch.inference_mode():
        expected, out = ours(x, lengths)
        found, found_out = plain(x, lengths)
    assert out.tolist() == found_out.tolist()
    for row, length in enumerate(out.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length], atol=1e-5, rtol=0)


@pytest.mark.parametrize("preset", ["small", "quartznet5x5"])
def test_operations_are_counted_as_pytorch_counts_them(preset):
    config = load_config(preset)
    with torch.device("meta"):
        network = build_network(config.model).eval()
        x, lengths = torch.empty(1, 64, 1600), torch.tensor([1600])
    with FlopCounterMode(display=False) as counter:
        network(x, lengths)
    assert forward_flops(config) * 16 == pytest.approx(counter.get_total_flops(), rel=0.01)
