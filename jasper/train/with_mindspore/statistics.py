"""Batch norm's running statistics after each batch of a step in, one move of them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor

from jasper.types import FloatArray


def is_running(parameter: Parameter) -> bool:
    """Whether it is a statistic, not a weight."""
    return "running_" in parameter.name


class NormStatistics:
    """Moves the running statistics once a step, by the mean over its batches; see `jasper.train.statistics`.

    They are small, and losses are read after every batch anyway, so all of it is done on the host.
    """

    def __init__(self, running: Sequence[Parameter]) -> None:
        self._running = running
        self._before = self._read()

    def begin_step(self) -> None:
        """Note the statistics as they are."""
        self._before = self._read()

    def take_move(self) -> Tensor:
        """How far a batch moved them, all in one (N,); they are put back to where the step began."""
        move = self._read() - self._before
        self._write(self._before)
        return Tensor.from_numpy(move)

    def finish_step(self, move: Tensor) -> None:
        """Move them from where the step began."""
        self._write(self._before + move.asnumpy())

    def _read(self) -> FloatArray:
        return np.concatenate([value.asnumpy() for value in self._running])

    def _write(self, values: FloatArray) -> None:
        ends = np.cumsum([value.size for value in self._running])
        for parameter, value in zip(self._running, np.split(values, ends[:-1]), strict=True):
            parameter.set_data(Tensor(value))
