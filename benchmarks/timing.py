"""Steps of training in, seconds and memory out. It knows PyTorch alone: NeMo's Python runs it too."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Durations = Sequence[float]  # s, of the utterances of one batch
FRAMES_PER_S = 100
NUM_TOKENS = 20
WARM_UP: Durations = (2.0, 1.5)  # allocates gradients and the optimizer's state


class Step(Protocol):
    """One way to train."""

    def batch(self, durations: Durations) -> Any:
        """Make a batch, outside the time that is measured."""

    def __call__(self, batch: Any) -> object:
        """Train one step on it."""


def time_steps(step: Step, batches: Sequence[Durations], device: str) -> dict[str, Any]:
    """Seconds of a step on each batch, after a warm-up on a short one (on an accelerator also on each).

    Returns `step_s` and `peak_mib`, which is the device's, or the process's own on a CPU.
    """
    for durations in (WARM_UP, WARM_UP, *(batches if device != "cpu" else ())):
        step(step.batch(durations))
    seconds = []
    for durations in batches:
        batch = step.batch(durations)
        _synchronize(device)
        start = _now(device)
        step(batch)
        _synchronize(device)
        seconds.append(_now(device) - start)
    return {"step_s": seconds, "peak_mib": _peak_mib(device)}


def matmul_peak(dtype: torch.dtype, device: str, size: int = 4096, repeats: int = 5) -> float:
    """FLOP a second of a square matrix product: the median of some."""
    if device == "cpu":
        size = size // 2
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        _synchronize(device)
        start = _now(device)
        torch.mm(left, right)
        _synchronize(device)
        seconds.append(_now(device) - start)
    return 2 * size**3 / statistics.median(seconds[2:])


@dataclass(frozen=True)
class NoiseBatch:
    """Noise in place of features (B, mels, T) with `lengths` (B,), and random tokens (B, U)."""

    features: torch.Tensor
    lengths: torch.Tensor
    tokens: torch.Tensor
    token_lengths: torch.Tensor

    @classmethod
    def make(cls, durations: Durations, num_mels: int, num_labels: int, device: str) -> NoiseBatch:
        """A batch of these durations, padded to the longest."""
        num = len(durations)
        lengths = torch.tensor([round(duration * FRAMES_PER_S) for duration in durations])
        features = torch.randn(num, num_mels, int(lengths.max()))
        tokens, token_lengths = (
            torch.randint(0, num_labels, (num, NUM_TOKENS)),
            torch.full((num,), NUM_TOKENS),
        )
        return cls(*(tensor.to(device) for tensor in (features, lengths, tokens, token_lengths)))


def _now(device: str) -> float:
    """Seconds; of a single thread its own, which other work on the machine hardly makes longer."""
    return time.thread_time() if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
