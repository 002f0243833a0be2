"""The PyTorch engine: a model directory, or a network in training, on any PyTorch device."""

from __future__ import annotations

from pathlib import Path

import torch

from jasper.bundle import read_model_config, read_weights
from jasper.directory import WEIGHTS_FILE
from jasper.nn import Jasper
from jasper.nn.device import pick_device
from jasper.nn.weights import build_network, load_weights
from jasper.types import FloatArray, IntArray


class TorchEngine:
    """Runs a network in evaluation mode, in single precision."""

    name = "torch"

    def __init__(self, network: Jasper, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.device = device

    @torch.inference_mode()
    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """See `Engine.log_probs`."""
        x = torch.from_numpy(features).to(self.device, self.network.head.weight.dtype)
        log_probs, out_lengths = self.network(x, torch.from_numpy(lengths).to(self.device))
        return log_probs.float().cpu().numpy(), out_lengths.cpu().numpy()


def load(directory: Path, device: str = "auto") -> TorchEngine:
    """Load a model directory onto a device."""
    network = build_network(read_model_config(directory))
    load_weights(network, read_weights(directory), str(directory / WEIGHTS_FILE))
    return TorchEngine(network, pick_device(device))
