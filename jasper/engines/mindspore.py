"""The MindSpore engine: a model directory, or a network in training, on a CPU or an Ascend card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore import Tensor

from jasper.bundle import read_model_config, read_weights
from jasper.config import EngineConfig
from jasper.directory import WEIGHTS_FILE
from jasper.mindspore.device import use_device
from jasper.mindspore.network import Jasper
from jasper.mindspore.weights import build_network, load_weights
from jasper.types import FloatArray, IntArray


class MindSporeEngine:
    """Runs a network in evaluation mode, in single precision."""

    name = "mindspore"
    precision = "fp32"

    def __init__(self, network: Jasper) -> None:
        self.network = network.set_train(False)

    def log_probs(self, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
        """See `Engine.log_probs`."""
        log_probs, out_lengths = self.network(Tensor(features), Tensor(lengths))
        return log_probs.asnumpy(), out_lengths.asnumpy().astype(np.int64)


def load(directory: Path, settings: EngineConfig) -> MindSporeEngine:
    """Load a model directory onto a device: auto, cpu or ascend."""
    use_device(settings.device)
    network = build_network(read_model_config(directory))
    load_weights(network, read_weights(directory), str(directory / WEIGHTS_FILE))
    return MindSporeEngine(network)
