"""The values that travel between the stages: frozen, typed, each field with its unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class BestPath:
    """The likeliest label of every step and what recognition without a beam asks besides.

    Arrays of one shape: (B, T) for a batch, (T,) for a row.
    """

    labels: IntArray  # of equally likely ones the first
    log_probs: FloatArray  # natural log of their probabilities
    blanks: FloatArray  # natural log of the blank's
    entropy: FloatArray | None = None  # of the posteriors, as a share of ln V; None where nobody asked for it

    def __getitem__(self, where: Any) -> BestPath:
        """The same of some rows or steps, as NumPy indexes."""
        entropy = None if self.entropy is None else self.entropy[where]
        return BestPath(self.labels[where], self.log_probs[where], self.blanks[where], entropy)

    def followed_by(self, other: BestPath) -> BestPath:
        """The steps of both rows, one after the other."""
        entropy = None
        if self.entropy is not None and other.entropy is not None:
            entropy = np.concatenate([self.entropy, other.entropy])
        return BestPath(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.log_probs, other.log_probs]),
            np.concatenate([self.blanks, other.blanks]),
            entropy,
        )

    def silenced(self, where: NDArray[np.bool_], blank: int) -> BestPath:
        """The same, sure of the blank at some steps."""
        sure = np.float32(0)
        return BestPath(
            np.where(where, blank, self.labels),
            np.where(where, sure, self.log_probs),
            np.where(where, sure, self.blanks),
            None if self.entropy is None else np.where(where, sure, self.entropy),
        )


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
