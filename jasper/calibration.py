"""Confidences of words, and whether they were right, in; how far to believe them, and their repair, out.

The repair is Platt's (1999): the logit of a confidence is scaled and shifted, so that it says how many of
such words are right.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEAST = 1e-6  # confidences are taken between this and 1 minus this
NUM_BINS = 10
NUM_STEPS = 50  # of Newton's method, which needs about ten
TOLERANCE = 1e-9
PRIOR = 1.0  # pulls scale and shift to 1 and 0 where words are few, or all right, or all wrong


class Bin(NamedTuple):
    """Words of like confidence."""

    confidence: float  # their mean
    right: float  # share of them
    number: int


def calibrated(confidence: float, scale: float, shift: float) -> float:
    """A confidence (0 to 1) whose logit is scaled and shifted; as it is with 1 and 0."""
    if (scale, shift) == (1.0, 0.0):
        return confidence
    return 1.0 / (1.0 + math.exp(-(scale * float(_logits(np.array(confidence))) + shift)))


def all_calibrated(confidences: RealArray, scale: float, shift: float) -> RealArray:
    """The same of many (N,)."""
    return np.array([calibrated(float(confidence), scale, shift) for confidence in confidences])


def reliability(confidences: RealArray, right: BoolArray) -> list[Bin]:
    """Words (N,) in bins of equal width of confidence; bins without words are left out."""
    number = np.minimum((confidences * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    inside = [number == index for index in range(NUM_BINS)]
    return [
        Bin(float(confidences[which].mean()), float(right[which].mean()), int(which.sum()))
        for which in inside
        if which.any()
    ]


def expected_error(confidences: RealArray, right: BoolArray) -> float:
    """Expected calibration error (Naeini et al. 2015): mean distance of confidence and share of the bins."""
    bins = reliability(confidences, right)
    total = sum(one.number for one in bins)
    return sum(one.number * abs(one.confidence - one.right) for one in bins) / max(1, total)


def fit(confidences: RealArray, right: BoolArray) -> tuple[float, float]:
    """The scale and shift that make right words (N,) likeliest: logistic regression by Newton's method.

    A normal prior of deviation 1 / √PRIOR keeps words that are all right from making any word sure.
    """
    inputs = np.stack([_logits(confidences), np.ones(len(confidences))], axis=1)
    start = weights = np.array([1.0, 0.0])

    def loss(weights: RealArray) -> float:
        signed = np.where(right, -1, 1) * (inputs @ weights)
        return float(np.logaddexp(0, signed).sum() + PRIOR / 2 * np.square(weights - start).sum())

    for _ in range(NUM_STEPS):
        predicted = 1.0 / (1.0 + np.exp(-(inputs @ weights)))
        gradient = inputs.T @ (right - predicted) - PRIOR * (weights - start)
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + PRIOR * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(weights + step) > loss(weights) and np.abs(step).max() > TOLERANCE:
            step = step / 2
        weights = weights + step
        if np.abs(step).max() <= TOLERANCE:
            break
    return float(weights[0]), float(weights[1])


def _logits(confidences: RealArray) -> RealArray:
    clipped = np.clip(confidences, LEAST, 1 - LEAST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
