"""A network and settings in; which parts of it may move, and how fast, out."""

from __future__ import annotations

from typing import Any

from torch import nn

from jasper.config import AdaptConfig, ModelConfig
from jasper.nn import Jasper
from jasper.nn.weights import load_weights, network_weights
from jasper.train.start import Start, start_weights


def start_from(source: str, network: Jasper, config: ModelConfig) -> Start:
    """Copy the weights of the model at `source` into a network built from `config`; see `start_weights`."""
    start, weights = start_weights(source, network_weights(network), config)
    load_weights(network, weights, source)
    return start


def hold_still(network: Jasper, config: AdaptConfig) -> None:
    """Take the gradient from frozen blocks, and put the norms that keep their statistics in evaluation mode.

    What stands below the first block that learns needs no memory for the backward pass then.
    """
    frozen = config.frozen_blocks(len(network.blocks))
    for index, block in enumerate(network.blocks):
        block.requires_grad_(index not in frozen)
        if index in frozen if config.freeze_norm is None else config.freeze_norm:
            for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm1d)):
                norm.eval()


def parameter_groups(network: Jasper, config: AdaptConfig) -> list[dict[str, Any]]:
    """What moves, as groups for an optimizer: `params`, and `rate_factor` on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    parts: list[tuple[float, nn.Module]] = [
        (config.rate_factor(index, len(network.blocks)), block) for index, block in enumerate(network.blocks)
    ]
    for factor, part in (*parts, (1.0, network.head)):
        moving = [parameter for parameter in part.parameters() if parameter.requires_grad]
        groups.setdefault(factor, []).extend(moving)
    return [{"params": params, "rate_factor": factor} for factor, params in groups.items() if params]
