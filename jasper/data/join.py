"""Short clips in, longer utterances of one speaker out, drawn anew in every epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from jasper.config import JoinConfig
from jasper.types import Utterance


def join_clips(utterances: Sequence[Utterance], config: JoinConfig, seed: int, epoch: int) -> list[Utterance]:
    """Join clips of one speaker into strings of `min_clips` to `max_clips`, each clip used once a round.

    A pure function of its arguments. With `config.utterances` unset one round is made, so every clip appears
    exactly once (the last string of a speaker may be shorter than `min_clips`). Clips without a speaker are
    taken to be of one.
    """
    rng = np.random.default_rng((seed, epoch, 0x10))
    speakers: dict[str | None, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        speakers[utterance.speaker].append(utterance)
    joined: list[Utterance] = []
    while True:
        for speaker in sorted(speakers, key=str):
            joined.extend(_one_round(speakers[speaker], config, rng, len(joined)))
        if config.utterances is None or not utterances:
            return joined
        if len(joined) >= config.utterances:
            keep = rng.permutation(len(joined))[: config.utterances]
            return [joined[index] for index in sorted(keep)]


def _one_round(
    clips: Sequence[Utterance], config: JoinConfig, rng: np.random.Generator, first: int
) -> list[Utterance]:
    order = rng.permutation(len(clips))
    joined: list[Utterance] = []
    start = 0
    while start < len(clips):
        count = int(rng.integers(config.min_clips, config.max_clips + 1))
        parts = tuple(clips[index] for index in order[start : start + count])
        pauses = tuple(float(p) for p in rng.uniform(*config.pause, size=len(parts)))
        joined.append(_join(parts, pauses, f"joined-{first + len(joined):05d}"))
        start += count
    return joined


def _join(parts: tuple[Utterance, ...], pauses: tuple[float, ...], name: str) -> Utterance:
    first = parts[0]
    return Utterance(
        id=f"{name}-{first.id}",
        path=first.path,
        text=" ".join(part.text for part in parts),
        duration=sum(part.duration for part in parts) + sum(pauses[:-1]),
        speaker=first.speaker,
        parts=parts,
        pauses=(*pauses[:-1], 0.0),
    )
