"""Reference and hypothesis in, error counts and rates out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

from jasper.types import ErrorCounts, Score, ScoredUtterance

Kind = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One column of an alignment; the side that has no token there is None."""

    kind: Kind
    reference: str | None
    hypothesis: str | None


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Edit]:
    """Align two token sequences with the fewest edits."""
    edits: list[Edit] = []
    for code in Levenshtein.opcodes(reference, hypothesis):
        spoken = reference[code.src_start : code.src_end]
        heard = hypothesis[code.dest_start : code.dest_end]
        if code.tag == "delete":
            edits.extend(Edit("delete", token, None) for token in spoken)
        elif code.tag == "insert":
            edits.extend(Edit("insert", None, token) for token in heard)
        else:
            kind: Kind = "equal" if code.tag == "equal" else "substitute"
            edits.extend(Edit(kind, *pair) for pair in zip(spoken, heard, strict=True))
    return edits


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Count the fewest edits that turn the reference's tokens into the hypothesis's."""
    tags = [edit.tag for edit in Levenshtein.editops(reference, hypothesis)]
    return ErrorCounts(tags.count("replace"), tags.count("delete"), tags.count("insert"), len(reference))


def score_utterance(
    utterance_id: str,
    reference: str,
    hypothesis: str,
    speaker: str | None = None,
    duration: float = 0.0,
) -> ScoredUtterance:
    """Count errors by words, and by characters of which the single space between two words is one."""
    spoken, heard = reference.split(), hypothesis.split()
    return ScoredUtterance(
        id=utterance_id,
        reference=reference,
        hypothesis=hypothesis,
        words=count_errors(spoken, heard),
        characters=count_errors(" ".join(spoken), " ".join(heard)),
        speaker=speaker,
        duration=duration,
    )


def score(scored: Sequence[ScoredUtterance]) -> Score:
    """Add up a set: rates are of all its tokens together, so long utterances weigh more."""
    words = [utterance.words for utterance in scored]
    return Score(
        words=sum(words, ErrorCounts()),
        characters=sum((utterance.characters for utterance in scored), ErrorCounts()),
        wer_interval=bootstrap_interval(words),
        utterances=tuple(scored),
    )


def bootstrap_interval(
    counts: Sequence[ErrorCounts], num_samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the error rate, utterances drawn with replacement (Bisani and Ney, 2004)."""
    if not counts:
        return 0.0, 0.0
    table = np.array([(count.errors, count.reference_length) for count in counts], dtype=np.int64)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(table), size=len(table)) for _ in range(num_samples))
    errors, length = np.array([table[draw].sum(axis=0) for draw in draws]).T
    # As in ErrorCounts.rate: references that are all empty count as one token.
    low, high = np.percentile(errors / np.maximum(length, 1), (2.5, 97.5))
    return float(low), float(high)
