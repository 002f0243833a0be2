"""A network and settings in; which parts of it may move, and how fast, out."""

from __future__ import annotations

from jasper.config import AdaptConfig
from jasper.mindspore.network import Jasper
from jasper.mindspore.normalization import BatchNorm


def hold_still(network: Jasper, config: AdaptConfig) -> None:
    """Take frozen blocks from what learns, and let norms keep their statistics; see `jasper.train.adapt`."""
    frozen = config.frozen_blocks(len(network.blocks))
    for index, block in enumerate(network.blocks):
        for parameter in block.trainable_params() if index in frozen else ():
            parameter.requires_grad = False
        if index in frozen if config.freeze_norm is None else config.freeze_norm:
            for norm in (cell for _, cell in block.cells_and_names() if isinstance(cell, BatchNorm)):
                norm.set_train(False)


def rate_factors(network: Jasper, config: AdaptConfig) -> list[float]:
    """Of each parameter that learns, in their order: the factor on the learning rate."""
    found = []
    for parameter in network.trainable_params():
        part, index, *_ = parameter.name.split(".")
        found.append(config.rate_factor(int(index), len(network.blocks)) if part == "blocks" else 1.0)
    return found
