"""The factor that keeps the gradients of float16 from vanishing, and how it finds its size."""

from __future__ import annotations

_FIRST, _GROWTH, _BACKOFF, _STEPS = 65536.0, 2.0, 0.5, 2000  # those of PyTorch's GradScaler


class LossScale:
    """1 where it is not enabled. Halved where a gradient is not finite, doubled after 2000 that are."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.value = _FIRST if enabled else 1.0
        self._good = 0

    def update(self, finite: bool) -> None:
        """Take in how a step went."""
        if not self.enabled:
            return
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.value *= _BACKOFF
        elif self._good == _STEPS:
            self.value, self._good = self.value * _GROWTH, 0

    def state(self) -> list[float]:
        """What `restore` takes."""
        return [self.value, self._good]

    def restore(self, state: list[float]) -> None:
        """Take up a state."""
        if self.enabled:
            self.value, self._good = float(state[0]), int(state[1])
