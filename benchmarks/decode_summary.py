"""What each search found in; speed, WER and differences in errors over all sets, as dicts or lines, out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NUM_SAMPLES = 10_000


@dataclass(frozen=True)
class Found:
    """What one search made of one set; its lists have a value for each recording."""

    speech: str
    log_probs: str  # kind
    weights: str
    search: str
    seconds: float
    recordings: list[str]
    errors: list[int]
    words: list[int]  # of the references

    @property
    def wer(self) -> float:
        """Word error rate."""
        return sum(self.errors) / sum(self.words)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "wer": self.wer}


def pooled(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Ours beside each other search, for each choice of weights: all sets and kinds of log-probabilities."""
    by_work: dict[str, dict[tuple[str, str], dict[str, Found]]] = defaultdict(lambda: defaultdict(dict))
    for one in found:
        by_work[one.weights][one.speech, one.log_probs][one.search] = one
    return [
        compare(weights, name, [(row["ours"], row[name]) for row in rows.values() if name in row])
        for weights, rows in by_work.items()
        for name in dict.fromkeys(name for row in rows.values() for name in row if name != "ours")
    ]


def compare(weights: str, name: str, pairs: Sequence[tuple[Found, Found]]) -> dict[str, Any]:
    """Ours beside another search: pairs of what both found in the same log-probabilities."""
    differences: dict[str, int] = defaultdict(int)
    for ours, other in pairs:
        for recording, one, another in zip(ours.recordings, ours.errors, other.errors, strict=True):
            differences[recording] += one - another
    low, high = sum_interval(np.array(list(differences.values())))
    ratios = [other.seconds / ours.seconds for ours, other in pairs]
    return {
        "weights": weights,
        "search": name,
        "times_faster": [min(ratios), max(ratios)],
        "errors": sum(sum(ours.errors) for ours, _ in pairs),
        "errors_of_other": sum(sum(other.errors) for _, other in pairs),
        "words": sum(sum(ours.words) for ours, _ in pairs),
        "difference_interval": [low, high],
    }


def sum_interval(values: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[float, float]:
    """95 % interval of the sum (N,) by bootstrap: a recording is drawn with all that was made of it."""
    rng = np.random.default_rng(0)
    sums = [rng.choice(values, len(values)).sum() for _ in range(NUM_SAMPLES)]
    low, high = np.percentile(sums, (2.5, 97.5))
    return float(low), float(high)


def as_text(result: dict[str, Any]) -> str:
    """The result as lines."""
    lines = [
        f"first call {result['first_call_s']:.2f} s; "
        f"greedy, 64 clips of 16 s: {result['greedy_64_clips_of_16_s_ms']:.1f} ms"
    ]
    lines += [f"{count} threads: {seconds:.3f} s" for count, seconds in result["threads"].items()]
    speech = ""
    for row in result["searches"]:
        if row["speech"] != speech:
            speech = row["speech"]
            lines.append(f"\n{speech}")
        kind = f"{row['log_probs']:10} {row['weights']:24} {row['search']:12}"
        lines.append(f"{kind} {row['seconds']:8.3f} s  WER {row['wer']:.2%}")
    lines.append("")
    for row in result["pooled"]:
        slowest, fastest = row["times_faster"]
        low, high = row["difference_interval"]
        lines.append(
            f"{row['weights']}: {slowest:.1f} to {fastest:.1f} times as fast as {row['search']}; "
            f"{row['errors']} errors of {row['words']} words, {row['errors_of_other']} of {row['search']} "
            f"({row['errors'] - row['errors_of_other']:+d}, 95 % {low:+.0f} to {high:+.0f})"
        )
    return "\n".join(lines)
