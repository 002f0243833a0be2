"""Where a training stands in its order."""

from __future__ import annotations

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
