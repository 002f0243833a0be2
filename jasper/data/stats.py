"""Utterances in, what a corpus is made of out: hours, durations, letters, words and speakers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jasper.types import Utterance

Number = TypeVar("Number", int, float)

# Seconds; the steps double as the cost of a batch does, and the last one is open.
DURATION_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)


@dataclass(frozen=True, slots=True)
class DurationBin:
    """How many utterances last `start` <= s < `end`."""

    start: float
    end: float
    num_utterances: int


@dataclass(frozen=True, slots=True)
class ManifestStats:
    """Counts over the utterances of a manifest; durations in seconds, zero where there are none."""

    num_utterances: int
    hours: float
    min_duration: float
    median_duration: float
    mean_duration: float
    max_duration: float
    histogram: tuple[DurationBin, ...]
    alphabet: dict[str, int]  # character → count, the most frequent first
    num_words: int
    num_distinct_words: int
    speakers: dict[str, float]  # speaker → hours, the longest first; utterances without one are left out


def manifest_stats(utterances: Iterable[Utterance]) -> ManifestStats:
    """Count in one pass. Words are what whitespace separates; the text is counted as it stands."""
    durations: list[float] = []
    alphabet: Counter[str] = Counter()
    words: Counter[str] = Counter()
    speakers: dict[str, float] = {}  # seconds
    for utterance in utterances:
        durations.append(utterance.duration)
        alphabet.update(utterance.text)
        words.update(utterance.text.split())
        if utterance.speaker is not None:
            speakers[utterance.speaker] = speakers.get(utterance.speaker, 0.0) + utterance.duration
    seconds = np.asarray(durations or [0.0], dtype=np.float64)
    return ManifestStats(
        num_utterances=len(durations),
        hours=math.fsum(durations) / 3600,
        min_duration=float(seconds.min()),
        median_duration=float(np.median(seconds)),
        mean_duration=float(seconds.mean()),
        max_duration=float(seconds.max()),
        histogram=_histogram(durations),
        alphabet=dict(_ordered(alphabet)),
        num_words=words.total(),
        num_distinct_words=len(words),
        speakers={name: total / 3600 for name, total in _ordered(speakers)},
    )


def _histogram(durations: list[float]) -> tuple[DurationBin, ...]:
    counts, _ = np.histogram(durations, bins=DURATION_EDGES)
    bins = zip(DURATION_EDGES, DURATION_EDGES[1:], counts.tolist(), strict=False)
    return tuple(DurationBin(start, end, count) for start, end, count in bins)


def _ordered(counts: Mapping[str, Number]) -> list[tuple[str, Number]]:
    """The largest first; names decide between equals."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
