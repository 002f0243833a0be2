"""Manifests in, the utterances that a training can use out, and why it cannot use the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from jasper.config import Config
from jasper.data.join import join_clips
from jasper.data.manifest import read_table
from jasper.data.shards import ShardFault, check_shards
from jasper.data.stored import check_stored
from jasper.data.table import UtteranceTable, durations_of
from jasper.errors import AudioError, ConfigError, TrainingError
from jasper.features import num_frames
from jasper.recipe import parse_config
from jasper.storage import exists
from jasper.text import Tokenizer, get_normalizer, labels_of, min_frames, read_labels
from jasper.types import IntArray, Location, Utterance

Mask = NDArray[np.bool_]

TEXTS_AT_A_TIME = 4096


@dataclass(frozen=True, slots=True)
class Refused:
    """An utterance that is left out of training, and why."""

    utterance: Utterance
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What training uses and what it refuses."""

    utterances: Sequence[Utterance]
    refused: tuple[Refused, ...]
    damaged: tuple[str, ...] = ()  # what is wrong with shards

    def summary(self) -> str:
        """One line for the log."""
        hours = durations_of(self.utterances).sum() / 3600
        kinds = Counter(refused.kind for refused in self.refused)
        left_out = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
        damaged = f"; {'; '.join(self.damaged)}" if self.damaged else ""
        return f"training on {len(self.utterances)} utterances, {hours:.2f} h; refused: {left_out}{damaged}"


def read_training(config: Config) -> Selection:
    """Read the training manifests and keep what the settings allow and CTC can align.

    Feasibility is checked at the highest speed that augmentation may choose. Utterances of which a damaged
    shard has not all bytes are refused; where `data.on_error` is stop, such a shard is a TrainingError.
    ConfigError where features are stored of which the configuration asks what only sound allows.
    """
    table = _read(config, config.data.train)
    check_stored(table, config)
    tokenizer = Tokenizer(config.text.labels, config.text.subwords)
    normalize = get_normalizer(config.text.normalizer)
    repeated = _repeated(table.ids)
    refused: list[Refused] = []
    shards = check_shards(_ends_of_members(table))
    if shards and config.data.on_error == "stop":
        raise TrainingError(f"{_first(shards)}; data.on_error=skip would go on without what it lacks")
    lost = _lost(table, shards)
    keep = ~(suspects(table, config) | repeated | lost)
    for index in np.flatnonzero(~keep).tolist():
        utterance = table[index]
        found = fault(utterance, config, tokenizer, normalize(utterance.text))
        if repeated[index]:
            found = ("given twice", "an utterance of this id came before")
        elif lost[index]:
            found = ("in a damaged shard", shards[utterance.path].message)
        keep[index] = found is None
        if found is not None:
            refused.append(Refused(utterance, *found))
    return Selection(
        table.select(keep)[: config.data.max_utterances],
        tuple(refused),
        tuple(fault.message for fault in shards.values()),
    )


def with_labels(config: Config) -> Config:
    """The configuration with `text.labels` taken from where `data.labels` says, if it says so."""
    source = config.data.labels
    if source is None:
        return config
    if source == "manifest":
        normalize = get_normalizer(config.text.normalizer)
        labels = labels_of(map(normalize, _read(config, config.data.train).texts))
    else:
        labels = read_labels(source)
    raw = config.model_dump()
    raw["text"].update(labels=labels, subwords=None)
    raw["data"]["labels"] = None
    return parse_config(Config, raw, "data.labels")


def read_dev(config: Config) -> Sequence[Utterance]:
    """Read the dev manifests; nothing is left out but excluded speakers. ConfigError for stored features.

    With `data.join` the clips are joined, each once, always in the same way: that of `jasper eval --join`.
    """
    utterances = _read(config, config.data.dev)
    if utterances.feature_shards:
        raise ConfigError(f"data.dev: {utterances.feature_shards[0]} has features; recordings are scored")
    if config.data.join is None:
        return utterances
    return join_clips(utterances, config.data.join.model_copy(update={"utterances": None}), 0, 0)


def check_files(utterances: Sequence[Utterance]) -> None:
    """Raise AudioError if a file is not there or a shard damaged, before hours of training end at it."""
    ends: dict[Location, int] = {}
    paths: set[Location] = set()
    for part in (part for utterance in utterances for part in (utterance.parts or (utterance,))):
        paths.add(part.path)
        if part.member is not None:
            ends[part.path] = max(ends.get(part.path, 0), sum(part.member))
    missing = sorted(str(path) for path in paths if not exists(path))
    if missing:
        raise AudioError(f"{missing[0]}: no such file ({len(missing)} of {len(paths)} files are missing)")
    if shards := check_shards(ends):
        raise AudioError(_first(shards))


def fault(utterance: Utterance, config: Config, tokenizer: Tokenizer, text: str) -> tuple[str, str] | None:
    """Kind and reason of what is wrong with an utterance of that normalised text; None where nothing is."""
    data = config.data
    if utterance.duration < data.min_duration:
        return "too short", f"{utterance.duration:.2f} s, min_duration is {data.min_duration} s"
    if utterance.duration > data.max_duration:
        return "too long", f"{utterance.duration:.2f} s, max_duration is {data.max_duration} s"
    unknown = tokenizer.unknown(text)
    if unknown:
        return "with unknown characters", f"the labels have no {', '.join(map(repr, sorted(unknown)))}"
    shortest = utterance.duration / config.augment.speed[1]
    frames = num_frames(config.features, int(shortest * config.features.sample_rate))
    steps, needed = config.network.num_steps(frames), min_frames(tokenizer.encode(text))
    if needed > steps:
        return "too dense", f"the transcript needs {needed} output steps, the audio gives {steps}"
    return None


def suspects(table: UtteranceTable, config: Config) -> Mask:
    """Mask (N,) of the utterances in which `fault` finds something, for all of them at once.

    With subwords also of some in which it finds nothing: they count as if each letter were a label.
    """
    data, seconds = config.data, table.durations
    unknown, needed = _texts(table.texts, config)
    shortest = seconds / config.augment.speed[1]
    frames = num_frames(config.features, (shortest * config.features.sample_rate).astype(np.int64))
    too_dense = needed > config.network.num_steps(frames)
    return np.asarray((seconds < data.min_duration) | (seconds > data.max_duration) | unknown | too_dense)


def _texts(texts: Iterable[str], config: Config) -> tuple[Mask, IntArray]:
    """Of each normalised text: whether the labels cannot spell it, and `min_frames` of its letters."""
    normalize = get_normalizer(config.text.normalizer)
    is_label = np.zeros(0x110000, dtype=np.bool_)
    is_label[[ord(char) for char in set("".join(config.text.labels))]] = True
    leading_space = 0 if config.text.subwords is None else 1
    unknown, needed = [np.zeros(0, dtype=np.bool_)], [np.zeros(0, dtype=np.int64)]
    left = iter(map(normalize, texts))
    while chunk := list(islice(left, TEXTS_AT_A_TIME)):
        lengths = np.array([len(text) for text in chunk], dtype=np.int64)
        ends = np.cumsum(lengths)
        chars = np.frombuffer("".join(chunk).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        repeats = np.concatenate([[False], chars[1:] == chars[:-1]])
        repeats[(ends - lengths)[lengths > 0]] = False  # the first of a text repeats nothing
        unknown.append(_sums(~is_label[chars], ends, lengths) > 0)
        needed.append(lengths + leading_space + _sums(repeats, ends, lengths))
    return np.concatenate(unknown), np.concatenate(needed)


def _sums(values: Mask, ends: IntArray, lengths: IntArray) -> IntArray:
    """How many values are true in each stretch."""
    total = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(total[ends] - total[ends - lengths], dtype=np.int64)


def _repeated(ids: Iterable[str]) -> Mask:
    """Mask (N,) of the ids that came before."""
    seen: set[str] = set()
    repeated = []
    for name in ids:
        repeated.append(name in seen)
        seen.add(name)
    return np.array(repeated, dtype=np.bool_)


def _ends_of_members(table: UtteranceTable) -> dict[Location, int]:
    """Where the last member of each tar ends."""
    ends = np.zeros(len(table.tars), dtype=np.int64)
    inside = table.tar >= 0
    np.maximum.at(ends, table.tar[inside], table.member_ends[inside])
    return dict(zip(table.tars, ends.tolist(), strict=True))


def _lost(table: UtteranceTable, shards: Mapping[Location, ShardFault]) -> Mask:
    """Mask (N,) of the utterances of which a damaged shard has not all bytes."""
    there = [shards[tar].size if tar in shards else np.iinfo(np.int64).max for tar in table.tars]
    # The last one is for an utterance that lies in no tar.
    limits = np.array([*there, np.iinfo(np.int64).max], dtype=np.int64)
    return np.asarray(table.member_ends > limits[table.tar])


def _first(shards: Mapping[Location, ShardFault]) -> str:
    more = f" (and {len(shards) - 1} more shards are damaged)" if len(shards) > 1 else ""
    return next(iter(shards.values())).message + more


def _read(config: Config, places: Sequence[Location]) -> UtteranceTable:
    table = read_table(*places, tokenizer=Tokenizer(config.text.labels, config.text.subwords))
    return table.select(~table.spoken_by(config.data.exclude_speakers))
