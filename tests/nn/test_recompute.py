"""Blocks computed a second time: the same gradients, less kept in between."""

from __future__ import annotations

import torch

from jasper.config import NetworkConfig
from jasper.nn import Jasper

BLOCKS = [
    {"filters": 8, "kernel": 5, "stride": 2, "dropout": 0.2},
    {"filters": 16, "kernel": 5, "repeat": 4, "dropout": 0.2, "residual": "dense", "count": 3},
]


def train_once(recompute: bool) -> tuple[list[torch.Tensor], int]:
    """Gradients, and the bytes that wait for the backward pass."""
    torch.manual_seed(0)
    network = Jasper(NetworkConfig.model_validate({"blocks": BLOCKS}), 16, 5).train()
    network.recompute = recompute
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        log_probs, _ = network(torch.randn(4, 16, 800), torch.tensor([800, 700, 500, 20]))
    log_probs[:, :, 0].sum().backward()
    return [parameter.grad for parameter in network.parameters()], sum(kept.values())


def test_the_gradients_are_the_same_bits_and_less_is_kept():
    plain, kept = train_once(recompute=False)
    again, kept_again = train_once(recompute=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert kept_again < 0.5 * kept
