"""The values that travel between the stages: frozen, typed, each field with its unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Location = Path | str  # of a file: a local path, or the URL of one (a string) that fsspec reads
Member = tuple[int, int]  # a file inside a tar: the byte where it begins, and its size


def location(text: str | Path) -> Location:
    """What a user wrote as the place of a file: a URL has `://` in it, all else is a local path."""
    if isinstance(text, Path):
        return text
    return Path(text.removeprefix("file://")) if text.startswith("file://") or "://" not in text else text


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of a manifest: where a stretch of speech lies and what is said in it.

    `parts` and `pauses` describe a joined utterance: the parts' waves one after the other, part i
    followed by `pauses[i]` seconds of silence (`len(pauses) == len(parts)`).
    """

    id: str
    path: Location
    text: str
    duration: float  # s, of the stretch alone
    offset: float | None = None  # s, where the stretch begins; None: it is the whole file
    speaker: str | None = None
    line: int = 0  # in its manifest, from 1; 0 where there is none
    member: Member | None = None  # where the audio file lies inside `path`, a tar; None: `path` is that file
    has_features: bool = False  # `member` are features (F, T) that were stored in place of sound
    parts: tuple[Utterance, ...] = ()
    pauses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One result of a search: `tokens[i]` was first emitted at encoder step `frames[i]`.

    A score is a natural logarithm: greedy search's of the best path, beam search's of all paths that spell
    the tokens plus `added`, which is what language model, lexicon and hotwords add, weights included.
    """

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    score: float
    added: float = 0.0


# (log_probs (B, T, V), lengths (B,)) to the best hypotheses of each row, best first.
Search = Callable[[FloatArray, IntArray], list[list[Hypothesis]]]


@dataclass(frozen=True, slots=True)
class Word:
    """A word, where it was said (s, half open) and how sure that is."""

    text: str
    start: float
    end: float
    confidence: float  # 0 to 1: probability of its labels in these seconds


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses of a recording."""

    text: str
    start: float  # s, half open
    end: float  # s
    score: float  # natural log, as in Hypothesis
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording: its segments one after the other."""

    text: str
    duration: float  # s
    score: float  # natural log, the sum of its segments'
    path: Location | None = None
    words: tuple[Word, ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Edit operations that turn references into hypotheses. Rates are in 0..1 and may exceed 1."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_length: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference token. An empty reference counts as one token if anything was inserted."""
        if self.reference_length == 0:
            return float(self.insertions)
        return self.errors / self.reference_length

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )


@dataclass(frozen=True, slots=True)
class ScoredUtterance:
    """A reference, what was recognised, and the counts of both units."""

    id: str
    reference: str
    hypothesis: str
    words: ErrorCounts
    characters: ErrorCounts
    speaker: str | None = None
    duration: float = 0.0  # s


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a set; `utterances` has every utterance exactly once, in manifest order."""

    words: ErrorCounts
    characters: ErrorCounts
    wer_interval: tuple[float, float]  # 95 %, bootstrap over utterances
    utterances: tuple[ScoredUtterance, ...]

    @property
    def wer(self) -> float:
        return self.words.rate

    @property
    def cer(self) -> float:
        return self.characters.rate
