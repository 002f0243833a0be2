"""A rank's batches of a step in, what is true of the step on every rank out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasper.data.dataset import Batch

if TYPE_CHECKING:
    from jasper.train.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Tally:
    """What there is in a step, over all ranks.

    Only the rank that reads an utterance finds out that it cannot be used.
    """

    num_utterances: int
    num_batches: int  # that are not empty
    num_samples: int  # of audio
    num_padded: int  # the same with the padding to the longest of each batch
    faults: tuple[str, ...]  # the utterances that cannot be used, with the reason
    stop: bool  # whether any rank was asked to stop


def count_step(batches: Sequence[Batch], ranks: Ranks, stop: bool = False) -> Tally:
    """Count a step that is about to be made. The hosts agree among themselves; no device is waited for."""
    filled = [batch for batch in batches if len(batch)]
    faults = [fault for batch in batches for fault in batch.faults]
    utterances = sum(len(batch) for batch in filled)
    samples = sum(int(batch.lengths.sum()) for batch in filled)
    padded = sum(len(batch) * int(batch.lengths.max()) for batch in filled)
    numbers = ranks.sum((utterances, len(filled), samples, padded, len(faults), stop))
    num_utterances, num_batches, num_samples, num_padded, num_faults, num_stops = map(int, numbers)
    if num_faults:
        faults = [fault for rank in ranks.gather(faults) for fault in rank]
    return Tally(num_utterances, num_batches, num_samples, num_padded, tuple(faults), num_stops > 0)
