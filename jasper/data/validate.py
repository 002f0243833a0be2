"""A manifest in, every fault that would hurt training or scoring out, each with its line."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from jasper.audio import audio_info, read_audio
from jasper.config import FeatureConfig, TextConfig
from jasper.data.manifest import scan_manifest
from jasper.data.mindrecord import read_features, read_shard
from jasper.data.shards import verify_shard
from jasper.errors import AudioError, ManifestError
from jasper.features import FeatureExtractor
from jasper.progress import track
from jasper.storage import exists, stem
from jasper.text import Tokenizer, get_normalizer, min_frames
from jasper.types import Location, Utterance

SILENCE_PEAK = 10 ** (-60 / 20)  # -60 dBFS
DURATION_TOLERANCE_S = 0.1
DURATION_TOLERANCE = 0.05  # of the file's duration
SLICE = 512  # utterances handed to the threads at a time

# kind → what it means, in the order in which a report lists them
KINDS: dict[str, str] = {
    "syntax": "the line is no utterance",
    "duplicate_id": "the id was used before",
    "missing": "there is no such audio file",
    "unreadable": "the audio cannot be decoded to its end",
    "damaged_shard": "the tar that holds it is not what shards.json says",
    "silent": "the audio never rises above -60 dBFS, or is constant",
    "too_short": "shorter than the configuration takes",
    "too_long": "longer than the configuration takes",
    "wrong_duration": "the file does not have the stated duration",
    "empty_text": "nothing is said, or nothing is left after normalisation",
    "unknown_characters": "the labels cannot spell the text",
    "too_dense": "more letters than CTC can align with the audio",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one line."""

    line: int  # of the manifest, from 1; of a JSON list, the entry
    id: str
    kind: str  # one of KINDS
    message: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All faults of a manifest, in the order of its lines."""

    num_utterances: int  # lines that are not blank
    faults: tuple[Fault, ...]

    @property
    def by_kind(self) -> dict[str, int]:
        """How many faults there are of each kind that occurs."""
        counts = Counter(fault.kind for fault in self.faults)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}


def validate(
    manifest_path: str | Path,
    text: TextConfig | None = None,
    features: FeatureConfig | None = None,
    stride: int = 1,
    min_duration: float = 0.0,
    max_duration: float = math.inf,
) -> ValidationReport:
    """Read every line and every recording of a manifest; ManifestError only where the manifest is missing.

    Texts are checked against the labels where `text` is given, and against the length of the network's
    output (feature frames / `stride`) where `features` is given too. Durations are limits in seconds.
    """
    entries = list(scan_manifest(manifest_path))
    faults = list(_line_faults(entries))
    utterances = [entry for _, entry in entries if isinstance(entry, Utterance)]
    faults.extend(_shard_faults(utterances))
    checker = _Checker(utterances, text, features, stride, (min_duration, max_duration))
    for found in track(_in_threads(checker, utterances), "Validating", total=len(utterances)):
        faults.extend(found)
    return ValidationReport(len(entries), tuple(sorted(faults, key=lambda fault: fault.line)))


class _Checker:
    """Finds the faults of one utterance; holds what is the same for all of them."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        text: TextConfig | None,
        features: FeatureConfig | None,
        stride: int,
        limits: tuple[float, float],  # s
    ) -> None:
        self.uses = Counter((utterance.path, utterance.member) for utterance in utterances)
        shards = {utterance.path for utterance in utterances if utterance.has_features}
        self.num_mels = {path: read_shard(Path(path)).num_mels or 1 for path in shards}
        self.normalize = get_normalizer(text.normalizer) if text else None
        self.tokenizer = Tokenizer(text.labels, text.subwords) if text else None
        self.extractor = FeatureExtractor(features) if features else None
        self.stride = stride
        self.limits = limits

    def __call__(self, utterance: Utterance) -> list[Fault]:
        found = list(self._audio(utterance)) + list(self._text(utterance))
        return [Fault(utterance.line, _id_of(utterance), kind, message) for kind, message in found]

    def _audio(self, utterance: Utterance) -> Iterator[tuple[str, str]]:
        if not exists(utterance.path):
            yield "missing", f"{utterance.path}: no such file"
            return
        if utterance.has_features:
            yield from self._stored(utterance)
            return
        try:
            info = audio_info(utterance.path, member=utterance.member)
            start = utterance.offset or 0.0
            if start >= info.duration or utterance.duration == 0:
                yield "wrong_duration", f"{utterance.path} lasts {info.duration:.3f} s; {_stretch(utterance)}"
                return
            # A line that takes a part of a file need not reach its end; one that takes all of it must.
            takes_part = start > 0 or self.uses[utterance.path, utterance.member] > 1
            stated = None if math.isnan(utterance.duration) else utterance.duration
            wanted = stated if takes_part else None
            wave = read_audio(
                utterance.path, info.sample_rate, offset=start, duration=wanted, member=utterance.member
            )
        except AudioError as error:
            yield "unreadable", str(error)
            return
        peak = float(abs(wave).max())
        if peak < SILENCE_PEAK or wave.min() == wave.max():
            yield "silent", f"{utterance.path}: the peak is {peak:.6f} of full scale"
        actual = wave.size / info.sample_rate
        if stated is not None and abs(stated - actual) > min(
            DURATION_TOLERANCE_S, DURATION_TOLERANCE * actual
        ):
            yield "wrong_duration", f"{utterance.path} has {actual:.3f} s of it; {_stretch(utterance)}"
        yield from self._limits(actual)
        yield from self._density(utterance, actual)

    def _stored(self, utterance: Utterance) -> Iterator[tuple[str, str]]:
        """Faults of features that were stored in place of sound."""
        try:
            read_features(utterance, self.num_mels[utterance.path])
        except AudioError as error:
            yield "unreadable", str(error)
            return
        yield from self._limits(utterance.duration)
        yield from self._density(utterance, utterance.duration)

    def _limits(self, seconds: float) -> Iterator[tuple[str, str]]:
        shortest, longest = self.limits
        if seconds < shortest:
            yield "too_short", f"{seconds:.3f} s; the shortest allowed is {shortest} s"
        if seconds > longest:
            yield "too_long", f"{seconds:.3f} s; the longest allowed is {longest} s"

    def _text(self, utterance: Utterance) -> Iterator[tuple[str, str]]:
        text = self._normalized(utterance)
        if not text.strip():
            yield "empty_text", f"the text is {utterance.text!r}"
        elif self.tokenizer and (unknown := self.tokenizer.unknown(text)):
            yield "unknown_characters", f"no label for {' '.join(map(repr, sorted(unknown)))} in {text!r}"

    def _density(self, utterance: Utterance, seconds: float) -> Iterator[tuple[str, str]]:
        """CTC needs a step for each label, and a blank between two that are equal."""
        if self.tokenizer is None or self.extractor is None:
            return
        text = self._normalized(utterance)
        if self.tokenizer.unknown(text):
            return
        needed = min_frames(self.tokenizer.encode(text))
        frames = self.extractor.num_frames(round(seconds * self.extractor.config.sample_rate))
        steps = -(-frames // self.stride)
        if needed > steps:
            yield "too_dense", f"the text needs {needed} output steps, {seconds:.3f} s give {steps}"

    def _normalized(self, utterance: Utterance) -> str:
        return self.normalize(utterance.text) if self.normalize else utterance.text


def _line_faults(entries: Iterable[tuple[int, Utterance | ManifestError]]) -> Iterator[Fault]:
    """Lines that are no utterance, and ids that were used before."""
    first_uses: dict[str, int] = {}
    for number, entry in entries:
        if isinstance(entry, ManifestError):
            yield Fault(number, "", "syntax", str(entry))
        elif entry.id and entry.id in first_uses:
            message = f"line {first_uses[entry.id]} has the id {entry.id!r} too"
            yield Fault(number, entry.id, "duplicate_id", message)
        elif entry.id:
            first_uses[entry.id] = number


def _shard_faults(utterances: Iterable[Utterance]) -> Iterator[Fault]:
    """Damaged shards, each at the first line that lies in it."""
    first: dict[Location, Utterance] = {}
    for utterance in utterances:
        if utterance.member is not None:
            first.setdefault(utterance.path, utterance)
    for place, utterance in track(first.items(), "Verifying shards", total=len(first)):
        if message := verify_shard(place):
            yield Fault(utterance.line, _id_of(utterance), "damaged_shard", message)


def _in_threads(checker: _Checker, utterances: Iterable[Utterance]) -> Iterator[list[Fault]]:
    """Check in order. Threads suffice: decoding and the wait for a disk both release the interpreter."""
    left = iter(utterances)
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 2)) as pool:
        while chunk := list(islice(left, SLICE)):
            yield from pool.map(checker, chunk)


def _id_of(utterance: Utterance) -> str:
    return utterance.id or stem(utterance.path)


def _stretch(utterance: Utterance) -> str:
    return f"the manifest states {utterance.duration:.3f} s from {utterance.offset or 0.0:.3f} s"
