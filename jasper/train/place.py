"""Where a training stands in its order."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One optimizer step in the order of training: group `group` of the `num_groups` of epoch `epoch`."""

    epoch: int
    group: int
    num_groups: int

    @property
    def start(self) -> float:
        """Progress in epochs before the step."""
        return self.epoch + self.group / self.num_groups

    @property
    def end(self) -> float:
        """Progress in epochs after the step."""
        return self.epoch + (self.group + 1) / self.num_groups

    def crosses(self, epochs: float) -> bool:
        """Whether a whole multiple of `epochs` is reached in this step."""
        return int(self.end / epochs + 1e-9) > int(self.start / epochs + 1e-9)

    def next(self) -> Place:
        """The step after it."""
        last = self.group + 1 == self.num_groups
        return Place(self.epoch + last, 0 if last else self.group + 1, self.num_groups)

    def of(self, num_groups: int) -> int:
        """The same progress among `num_groups`: how many are done, the one that it falls in included.

        Ranks, batch sizes or data may have changed since the place was noted.
        """
        return math.ceil(self.group * num_groups / self.num_groups - 1e-9)
