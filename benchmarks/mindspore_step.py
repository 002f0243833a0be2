"""MindSpore beside PyTorch on a CPU, fp32: a convolution both ways, and a training step of a preset.

python benchmarks/mindspore_step.py [PRESET]      (in the environment of `make test-mindspore`)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import mindspore
import numpy as np
import torch
from mindspore import Tensor, nn

from jasper.config import Config, TextConfig
from jasper.data.dataset import Batch
from jasper.mindspore.convolution import Convolution
from jasper.mindspore.device import use_device
from jasper.recipe import load_config
from jasper.train import with_mindspore, with_torch
from jasper.train.backend import Backend
from jasper.train.tally import count_step

CHANNELS, KERNEL, STEPS = 640, 21, 500  # one of Jasper 10x5's
ROWS, FRAMES, TOKENS = 8, 400, 40  # of the batch of a step


def seconds(work: Callable[[], object], times: int) -> float:
    """The median of so many runs after a first one."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def convolutions() -> None:
    """The forward pass of one convolution, one row."""
    x = np.random.default_rng(0).standard_normal((1, STEPS, CHANNELS), dtype=np.float32)
    native = nn.Conv1d(CHANNELS, CHANNELS, KERNEL, pad_mode="pad", padding=KERNEL // 2)
    ours, by_row, by_channel = (
        Convolution(CHANNELS, CHANNELS, KERNEL),
        Tensor(x),
        Tensor(x.swapaxes(1, 2).copy()),
    )
    slow = seconds(lambda: native(by_channel).asnumpy(), 3)
    fast = seconds(lambda: ours(by_row).asnumpy(), 20)
    shape = f"{CHANNELS}→{CHANNELS}, k {KERNEL}, {STEPS} steps"
    print(f"convolution {shape}: nn.Conv1d {slow:.3f} s, here {fast:.4f} s, factor {slow / fast:.0f}")


def steps(preset: str) -> None:
    """A training step of either engine on the same batch of noise."""
    config = load_config(preset, ["train.precision=fp32"])
    batch = noise(config)
    found = {name: step_seconds(backend, config, batch) for name, backend in BACKENDS.items()}
    row = ", ".join(f"{name} {value:.3f} s" for name, value in found.items())
    print(
        f"step of {preset}, {ROWS} × {FRAMES} frames: {row}, factor {found['mindspore'] / found['torch']:.2f}"
    )


def step_seconds(backend: Backend, config: Config, batch: Batch) -> float:
    ranks = backend.alone("cpu")
    learner = backend.make_learner(config, ranks, True)
    tally = count_step([batch], ranks)
    return seconds(lambda: backend.train_step(learner, ranks, [batch], tally, 1, 1e-4).read(), 7)


def noise(config: Config) -> Batch:
    rng = np.random.default_rng(0)
    lengths = np.full(ROWS, FRAMES * config.features.hop_length)
    spans = np.zeros((1, ROWS, 0, 2), np.int64)
    return Batch(
        ids=tuple(map(str, range(ROWS))),
        waves=np.zeros((ROWS, 0), np.float32),
        lengths=lengths,
        tokens=rng.integers(len(TextConfig().labels), size=(ROWS, TOKENS)),
        token_lengths=np.full(ROWS, TOKENS),
        freq_spans=spans,
        time_spans=spans,
        features=rng.standard_normal((ROWS, config.features.num_features, FRAMES), dtype=np.float32),
    )


BACKENDS: dict[str, Backend] = {"torch": with_torch, "mindspore": with_mindspore}  # type: ignore[dict-item]

if __name__ == "__main__":
    use_device("cpu")
    print(
        f"MindSpore {mindspore.__version__}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    convolutions()
    for name in sys.argv[1:] or ["tiny", "small"]:
        steps(name)
