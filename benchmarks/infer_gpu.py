"""A preset in, the latency, throughput and memory of its inference on a CUDA device out."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from jasper.folding import fold
from jasper.nn.inference import FoldedJasper
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import load_config

LATENCY_SECONDS = (2.0, 7.0, 16.7)  # of a clip, as in NVIDIA's own table
BATCH_SIZES = (16, 32, 64)
BATCH_SECONDS = 16.7
RUNS = 30


def measure_gpu(network: str) -> str:
    """A table: batch 1 by CUDA graphs, then batches, in half precision with random weights."""
    if not torch.cuda.is_available():
        sys.exit("infer.py: no CUDA device here; run it where there is one, or with --device cpu")
    config = load_config(network).model
    folded = fold(config.network, network_weights(build_network(config)))
    module = FoldedJasper(folded).to("cuda", torch.float16).eval()
    lines = [f"{network} on {torch.cuda.get_device_name()}, float16, medians of {RUNS}"]
    for seconds in LATENCY_SECONDS:
        median = _median(_captured(module, 1, seconds))
        lines.append(f"batch 1, {seconds:4.1f} s, CUDA graph: {1000 * median:6.2f} ms")
    for size in BATCH_SIZES:
        torch.cuda.reset_peak_memory_stats()
        median = _median(_captured(module, size, BATCH_SECONDS))
        peak = torch.cuda.max_memory_allocated() / 2**20
        rate = size * BATCH_SECONDS / median
        lines.append(f"batch {size}, {BATCH_SECONDS} s: {rate:9.0f} times real time, {peak:7.0f} MiB")
    return "\n".join(lines)


@torch.inference_mode()
def _captured(module: FoldedJasper, size: int, seconds: float) -> Callable[[], None]:
    """The launch of all kernels of one run at once."""
    features = torch.randn(size, 64, round(seconds * 100), device="cuda")
    lengths = torch.full((size,), features.shape[2], device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries choose their kernels before the capture
        for _ in range(3):
            module(features, lengths)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        module(features, lengths)
    return graph.replay


def _median(run: Callable[[], None]) -> float:
    seconds = []
    for _ in range(RUNS + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[3:])
