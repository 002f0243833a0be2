"""Manifests in, the utterances that a training can use out, and why it cannot use the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jasper.config import Config
from jasper.data.join import join_clips
from jasper.data.manifest import read_manifest
from jasper.errors import AudioError
from jasper.features import num_frames
from jasper.recipe import parse_config
from jasper.text import Tokenizer, get_normalizer, labels_of, min_frames, read_labels
from jasper.types import Utterance


@dataclass(frozen=True, slots=True)
class Refused:
    """An utterance that is left out of training, and why."""

    utterance: Utterance
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What training uses and what it refuses."""

    utterances: tuple[Utterance, ...]
    refused: tuple[Refused, ...]

    def summary(self) -> str:
        """One line for the log."""
        hours = sum(u.duration for u in self.utterances) / 3600
        kinds = Counter(refused.kind for refused in self.refused)
        left_out = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
        return f"training on {len(self.utterances)} utterances, {hours:.2f} h; refused: {left_out}"


def read_training(config: Config) -> Selection:
    """Read the training manifests and keep what the settings allow and CTC can align.

    Feasibility is checked at the highest speed that augmentation may choose.
    """
    utterances = _read(config, config.data.train)
    tokenizer = Tokenizer(config.text.labels, config.text.subwords)
    normalize = get_normalizer(config.text.normalizer)
    kept: list[Utterance] = []
    refused: list[Refused] = []
    seen: set[str] = set()
    for utterance in utterances:
        fault = _fault(utterance, config, tokenizer, normalize(utterance.text))
        if utterance.id in seen:
            fault = ("given twice", "an utterance of this id came before")
        seen.add(utterance.id)
        if fault is None:
            kept.append(utterance)
        else:
            refused.append(Refused(utterance, *fault))
    return Selection(tuple(kept[: config.data.max_utterances]), tuple(refused))


def with_labels(config: Config) -> Config:
    """The configuration with `text.labels` taken from where `data.labels` says, if it says so."""
    source = config.data.labels
    if source is None:
        return config
    if source == "manifest":
        normalize = get_normalizer(config.text.normalizer)
        labels = labels_of(normalize(utterance.text) for utterance in _read(config, config.data.train))
    else:
        labels = read_labels(source)
    raw = config.model_dump()
    raw["text"].update(labels=labels, subwords=None)
    raw["data"]["labels"] = None
    return parse_config(Config, raw, "data.labels")


def read_dev(config: Config) -> list[Utterance]:
    """Read the dev manifests; nothing is left out but excluded speakers.

    With `data.join` the clips are joined, each once, always in the same way: that of `jasper eval --join`.
    """
    utterances = _read(config, config.data.dev)
    if config.data.join is None:
        return utterances
    return join_clips(utterances, config.data.join.model_copy(update={"utterances": None}), 0, 0)


def check_files(utterances: Sequence[Utterance]) -> None:
    """Raise AudioError if a file is not there, before hours of training end at it."""
    paths = {part.path for utterance in utterances for part in (utterance.parts or (utterance,))}
    missing = sorted(str(path) for path in paths if not path.is_file())
    if missing:
        raise AudioError(f"{missing[0]}: no such file ({len(missing)} of {len(paths)} files are missing)")


def _read(config: Config, paths: Sequence[object]) -> list[Utterance]:
    excluded = set(config.data.exclude_speakers)
    utterances = [utterance for path in paths for utterance in read_manifest(str(path))]
    return [utterance for utterance in utterances if utterance.speaker not in excluded]


def _fault(utterance: Utterance, config: Config, tokenizer: Tokenizer, text: str) -> tuple[str, str] | None:
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
