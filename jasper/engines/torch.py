"""The PyTorch engine: a model directory, or a network in training, on any PyTorch device."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from jasper.bundle import read_model
from jasper.config import EngineConfig, ModelConfig
from jasper.engines.groups import Grouping, run_in_groups
from jasper.folding import fold
from jasper.nn.device import pick_device
from jasper.nn.inference import FoldedJasper
from jasper.types import BestPath, FloatArray, IntArray

_ON_CPU = Grouping(rows=8, frames=3200)  # as OpenVINO has them
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a network, `Jasper` or `FoldedJasper`, in evaluation mode."""

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        precision: str = "fp32",
        config: ModelConfig | None = None,
    ) -> None:
        """`config`: run a batch in groups of rows of like length, as suits a CPU; else all of it at once."""
        self.network = network.to(device).eval()
        self.device = device
        self.precision = precision
        self.config = config

    @torch.inference_mode()
    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """See `Engine.log_probs`."""
        log_probs, out_lengths = self._run(features, lengths)
        return log_probs.cpu().numpy(), out_lengths.cpu().numpy()

    @torch.inference_mode()
    def best_path(self, features: FloatArray, lengths: IntArray, blank: int) -> tuple[BestPath, IntArray]:
        """See `BestPathEngine.best_path`."""
        log_probs, out_lengths = self._run(features, lengths)
        found = (
            log_probs.argmax(dim=2),
            log_probs.amax(dim=2),  # of `max` any of equal labels comes
            log_probs[:, :, blank],
            -(log_probs.exp() * log_probs).sum(dim=2) / math.log(log_probs.shape[2]),
        )
        return BestPath(*(tensor.cpu().numpy() for tensor in found)), out_lengths.cpu().numpy()

    def _run(self, features: FloatArray, lengths: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        if self.config is None:
            return self._run_whole(features, lengths)
        found = run_in_groups(
            lambda *group: self._run_whole(*group)[0].numpy(), self.config, _ON_CPU, features, lengths
        )
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    def _run_whole(self, features: FloatArray, lengths: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.from_numpy(features).to(self.device, next(self.network.parameters()).dtype)
        log_probs, out_lengths = self.network(x, torch.from_numpy(lengths).to(self.device))
        return log_probs.float(), out_lengths


def load(directory: Path, settings: EngineConfig) -> TorchEngine:
    """Load a model directory onto a device; raises ConfigError for a device that is not there."""
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    config, weights = read_model(directory)
    network = FoldedJasper(fold(config.network, weights))
    grouped = config if device.type == "cpu" else None
    return TorchEngine(network.to(DTYPES[settings.precision]), device, settings.precision, grouped)
