"""A model and a recipe in; the weights that a training starts with out, and what it takes over from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jasper.bundle import Weights, read_model_config, read_weights
from jasper.config import BlockConfig, ModelConfig, expand
from jasper.directory import find_bundle
from jasper.errors import ConfigError


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


def start_weights(source: str, own: Weights, config: ModelConfig) -> tuple[Start, Weights]:
    """The weights of the model at `source` for a network of `config`, whose fresh ones are `own`.

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
    weights = read_weights(directory)
    theirs, labels = model.text.labels, config.text.labels
    kept = tuple(label for label in labels if label in theirs)
    # The blank is the last row on both sides.
    to = [*(labels.index(label) for label in kept), len(labels)]
    origin = [*(theirs.index(label) for label in kept), len(theirs)]
    for name in ("head.weight", "head.bias"):
        if name in weights:
            rows = own[name].copy()
            rows[to] = weights[name][origin]
            weights[name] = rows
    start = Start(
        source,
        kept,
        new=tuple(label for label in labels if label not in theirs),
        dropped=tuple(label for label in theirs if label not in labels),
        features=other_features(config, model),
    )
    return start, weights


def first_difference(own: ModelConfig, other: ModelConfig) -> str | None:
    """Say why the weights of one network do not fit another, if they do not. Dropout is no part of them."""
    blocks, theirs = _rows(own.network.blocks), _rows(other.network.blocks)
    for index, (block, their) in enumerate(zip(blocks, theirs, strict=False)):
        for key in (key for key in block if block[key] != their[key]):
            return f"{key} of block {index} is {block[key]}, not {their[key]}"
    if len(blocks) != len(theirs):
        return f"it has {len(blocks)} blocks, not {len(theirs)}"
    for key in ("num_mels", "frame_splicing"):
        mine, their_value = getattr(own.features, key), getattr(other.features, key)
        if mine != their_value:
            return f"features.{key} is {mine}, not {their_value}"
    return None


def other_features(own: ModelConfig, other: ModelConfig) -> tuple[str, ...]:
    """What of the front end is different, key by key."""
    mine, theirs = own.features.model_dump(), other.features.model_dump()
    return tuple(
        f"features.{key} is {mine[key]}, not {theirs[key]}" for key in mine if mine[key] != theirs[key]
    )


def _rows(blocks: Sequence[BlockConfig]) -> list[dict[str, Any]]:
    return [block.model_dump(exclude={"dropout", "count"}) for block in expand(blocks)]


def _listed(labels: Sequence[str]) -> str:
    return f"{len(labels)} labels ({' '.join(map(repr, labels))})" if labels else "none"
