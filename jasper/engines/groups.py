"""A padded batch in, its log-probabilities out, computed in groups of rows of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from jasper.config import ModelConfig
from jasper.types import FloatArray, IntArray

Run = Callable[[FloatArray, IntArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Grouping:
    """How a runtime likes its batches: at most `rows`, and `frames` of features with the padding, in one.

    Batches are padded to a multiple of `steps` of the network's output, which needs masks; or not at all.
    """

    rows: int = 1
    frames: int = 0  # one row alone may have more
    steps: int | None = None


def run_in_groups(
    run: Run, config: ModelConfig, grouping: Grouping, features: FloatArray, lengths: IntArray
) -> tuple[FloatArray, IntArray]:
    """The log-probabilities of a batch, by a `run` from features and lengths to log_probs (B, T', V).

    No work goes into the padding of features (B, F, T) past a group's own. Zero past a row's length.
    """
    network = config.network
    steps = int(network.num_steps(np.array(features.shape[2])))
    log_probs = np.zeros((len(features), steps, len(config.text.labels) + 1), dtype=np.float32)
    out_lengths = np.asarray(network.num_steps(lengths), dtype=np.int64)
    multiple = grouping.steps * network.stride if grouping.steps else 1
    for rows in _groups(lengths, grouping, multiple):
        frames = _rounded(int(lengths[rows].max()), multiple)
        own = np.zeros((len(rows), features.shape[1], frames), dtype=np.float32)
        for place, row in enumerate(rows):
            own[place, :, : lengths[row]] = features[row, :, : lengths[row]]
        found = run(own, lengths[rows])
        for place, row in enumerate(rows):
            log_probs[row, : out_lengths[row]] = found[place, : out_lengths[row]]
    return log_probs, out_lengths


def _groups(lengths: IntArray, grouping: Grouping, multiple: int) -> Iterator[list[int]]:
    """The rows that have any frame, longest first, cut into groups."""
    group: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        if not lengths[row]:  # a wave shorter than a hop may have no frame
            break
        frames = _rounded(int(lengths[group[0] if group else row]), multiple) * (len(group) + 1)
        if group and (len(group) == grouping.rows or frames > grouping.frames):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _rounded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
