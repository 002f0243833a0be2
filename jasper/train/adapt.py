"""A model and a recipe in; a network that starts from the model out, and which parts of it move how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from jasper.bundle import read_model_config
from jasper.config import AdaptConfig, BlockConfig, ModelConfig, expand
from jasper.directory import find_bundle
from jasper.errors import ConfigError
from jasper.nn import Jasper
from jasper.nn.weights import load_network


@dataclass(frozen=True, slots=True)
class Start:
    """What a training took over from a model: labels whose rows of the head were kept, are new, were dropped.

    `features` says what of the front end is another: the weights have not seen that.
    """

    source: str
    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    features: tuple[str, ...]

    def summary(self) -> str:
        """One line for the log."""
        rows = f"the head keeps the blank and {_listed(self.kept)}; new: {_listed(self.new)}"
        line = f"starting from {self.source}: {rows}; dropped: {_listed(self.dropped)}"
        return line + "".join(f"; {change} as there" for change in self.features)


def start_from(source: str, network: Jasper, config: ModelConfig) -> Start:
    """Copy the weights of the model at `source` into a network built from `config`.

    Rows of the head go by label, the blank's too; those of new labels stay as they were initialised. Raises
    ConfigError where the network or its input is not the model's, and ModelError where there is no model.
    """
    directory = find_bundle(source)
    model = read_model_config(directory)
    difference = first_difference(config, model)
    if difference:
        raise ConfigError(
            f"network: {difference} as in {source}; leave network and features out to take the model's"
        )
    state = load_network(directory).state_dict()
    theirs, own = model.text.labels, config.text.labels
    kept = tuple(label for label in own if label in theirs)
    # The blank is the last row on both sides.
    to = [*(own.index(label) for label in kept), len(own)]
    origin = [*(theirs.index(label) for label in kept), len(theirs)]
    for name in ("head.weight", "head.bias"):
        rows = network.state_dict()[name].cpu().clone()
        rows[to] = state[name][origin]
        state[name] = rows
    network.load_state_dict(state)
    return Start(
        source,
        kept,
        new=tuple(label for label in own if label not in theirs),
        dropped=tuple(label for label in theirs if label not in own),
        features=other_features(config, model),
    )


def first_difference(own: ModelConfig, other: ModelConfig) -> str | None:
    """Say why the weights of one network do not fit another, if they do not. Dropout is no part of them."""
    blocks, theirs = _rows(own.network.blocks), _rows(other.network.blocks)
    for index, (block, their) in enumerate(zip(blocks, theirs, strict=False)):
        for key in (key for key in block if block[key] != their[key]):
            return f"{key} of block {index} is {block[key]}, not {their[key]}"
    if len(blocks) != len(theirs):
        return f"it has {len(blocks)} blocks, not {len(theirs)}"
    if own.features.num_mels != other.features.num_mels:
        return f"features.num_mels is {own.features.num_mels}, not {other.features.num_mels}"
    return None


def other_features(own: ModelConfig, other: ModelConfig) -> tuple[str, ...]:
    """What of the front end is different, key by key."""
    mine, theirs = own.features.model_dump(), other.features.model_dump()
    return tuple(
        f"features.{key} is {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key]
    )


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
    last = len(network.blocks) - 1
    parts: list[tuple[float, nn.Module]] = [
        (config.encoder_rate * config.rate_decay ** (last - index), block)
        for index, block in enumerate(network.blocks)
    ]
    for factor, part in (*parts, (1.0, network.head)):
        moving = [parameter for parameter in part.parameters() if parameter.requires_grad]
        groups.setdefault(factor, []).extend(moving)
    return [{"params": params, "rate_factor": factor} for factor, params in groups.items() if params]


def _rows(blocks: Sequence[BlockConfig]) -> list[dict[str, Any]]:
    return [block.model_dump(exclude={"dropout", "count"}) for block in expand(blocks)]


def _listed(labels: Sequence[str]) -> str:
    return f"{len(labels)} labels ({' '.join(map(repr, labels))})" if labels else "none"
