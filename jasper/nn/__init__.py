"""The network, its features and its augmentation in PyTorch: `(x, lengths) -> (x, lengths)` throughout."""

from jasper.nn.features import TorchFeatures
from jasper.nn.network import Jasper

__all__ = ["Jasper", "TorchFeatures"]
