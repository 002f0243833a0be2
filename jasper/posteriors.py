"""Log-probabilities of a stretch of sound in, what recognition asks of them out, wherever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasper.decode.greedy import walk
from jasper.types import BestPath, FloatArray

ALMOST_NEVER = -20.0  # natural log of the probability of a label where nothing is said


@dataclass(frozen=True, slots=True)
class Posteriors:
    """What a network makes of T steps: all log_probs (T, V) or, where they stay on a device, a path."""

    blank: int
    log_probs: FloatArray | None
    device_path: BestPath | None = None  # (T,), with entropy

    def __len__(self) -> int:
        return len(self.path.labels if self.log_probs is None else self.log_probs)

    def __getitem__(self, steps: slice) -> Posteriors:
        if self.log_probs is None:
            return Posteriors(self.blank, None, self.path[steps])
        return Posteriors(self.blank, self.log_probs[steps])

    def whole(self) -> FloatArray:
        """All log_probs (T, V), which were asked for."""
        assert self.log_probs is not None
        return self.log_probs

    @property
    def path(self) -> BestPath:
        """The best path (T,)."""
        return walk(self.whole(), self.blank)[0] if self.device_path is None else self.device_path

    def entropy(self) -> NDArray[np.floating]:
        """How unsure the network is at each step (T,): 0 of one label, 1 where all are as likely."""
        if self.device_path is not None:
            assert self.device_path.entropy is not None
            return self.device_path.entropy
        log_probs = self.whole()
        entropy = np.einsum("tv,tv->t", np.exp(log_probs), log_probs)
        return np.asarray(entropy / -math.log(log_probs.shape[1]))

    def followed_by(self, other: Posteriors) -> Posteriors:
        """The steps of both, one after the other."""
        if self.log_probs is None:
            return Posteriors(self.blank, None, self.path.followed_by(other.path))
        return Posteriors(self.blank, np.concatenate([self.log_probs, other.whole()]))

    def silenced(self, where: NDArray[np.bool_]) -> Posteriors:
        """The same, saying blank at some steps (T,)."""
        if self.log_probs is None:
            return Posteriors(self.blank, None, self.path.silenced(where, self.blank))
        return Posteriors(self.blank, silenced(self.log_probs, where, self.blank))


def silenced(log_probs: FloatArray, where: NDArray[np.bool_], blank: int) -> FloatArray:
    """A copy that says blank at places of its first axis; labels are its last."""
    changed: FloatArray = log_probs.copy()
    changed[where] = ALMOST_NEVER
    changed[where, ..., blank] = 0.0
    return changed
