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

from jasper.config import NetworkConfig, expand
from jasper.nn import Jasper
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


STACKS = {
    "dense": [{"filters": 8, "kernel": 5, "repeat": 3, "residual": "dense", "count": 3}],
    "plain": [{"filters": 8, "kernel": 5, "repeat": 2, "residual": "plain", "count": 2}],
    "strided": [{"filters": 8, "kernel": 5, "stride": 2}, {"filters": 6, "kernel": 7}],
    "dilated": [
        {"filters": 8, "kernel": 5, "dilation": 3},
        {"filters": 8, "kernel": 3, "repeat": 2, "dilation": 2},
    ],
    "separable": [{"filters": 8, "kernel": 5, "repeat": 2, "separable": True, "residual": "plain"}],
}


@pytest.mark.parametrize("stack", STACKS)
def test_training_has_the_gradients_and_statistics_of_the_plain_network(stack):
    """One function in place of a chain: a wrong factor in it would still learn, only worse."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"blocks": STACKS[stack]})
    ours = Jasper(config, 64, 29).train()
    plain = ReferenceNetwork([block.model_dump() for block in expand(config.blocks)], 29).train()
    weights = ours.state_dict()
    plain.load_state_dict({name: weights[_our_name(name)] for name in plain.state_dict()})
    # Zeros in the padding, where the features have them.
    x, lengths = torch.randn(3, 64, 60), torch.tensor([60, 41, 7])
    for row, length in zip(x, lengths, strict=True):
        row[:, length:] = 0
    pull = torch.randn(3, 60, 29)
    for network in (ours, plain):
        log_probs, out = network(x, lengths)
        valid = torch.arange(log_probs.shape[1]) < out[:, None]
        (log_probs * pull[:, : log_probs.shape[1]])[valid].sum().backward()
    expected = {_our_name(name): value for name, value in plain.named_parameters()}
    for name, parameter in ours.named_parameters():
        scale = expected[name].grad.abs().max()
        torch.testing.assert_close(
            parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-4 * scale, msg=name
        )
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[_our_name(name)], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", ["small", "quartznet5x5"])
def test_operations_are_counted_as_pytorch_counts_them(preset):
    config = load_config(preset)
    with torch.device("meta"):
        network = build_network(config.model).eval()
        x, lengths = torch.empty(1, 64, 1600), torch.tensor([1600])
    with FlopCounterMode(display=False) as counter:
        network(x, lengths)
    assert forward_flops(config) * 16 == pytest.approx(counter.get_total_flops(), rel=0.01)
