"""Progress in epochs in, learning rate out; no state, so nothing to restore."""

from __future__ import annotations

import math

from jasper.config import OptimizerConfig, ScheduleConfig


def learning_rate(
    progress: float, epochs: int, optimizer: OptimizerConfig, schedule: ScheduleConfig
) -> float:
    """The rate for the step that ends at `progress` epochs; the first is above zero and below the peak."""
    peak, warmup = optimizer.learning_rate, schedule.warmup_epochs
    floor = min(schedule.floor, peak)
    if progress < warmup:
        return peak * progress / warmup
    past = progress - warmup - schedule.hold_epochs
    if past <= 0:
        return peak
    if schedule.name == "exponential":
        return max(floor, peak * math.pow(schedule.decay, past))
    share = min(1.0, past / max(epochs - warmup - schedule.hold_epochs, 1e-9))
    return floor + (peak - floor) * (1 + math.cos(math.pi * share)) / 2
