"""A seed in, a spoken corpus out: digit strings and commands in many voices, with three manifests.

No voice variant of one split is heard in another, and neither is any sentence of three words or more of
the dev or test split heard in training.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile

from jasper.audio import resample, trim_silence
from jasper.data.manifest import read_manifest, write_manifest
from jasper.demo.espeak import Synthesizer, Voice
from jasper.errors import ManifestError
from jasper.progress import track
from jasper.types import FloatArray, Utterance

Split = Literal["train", "dev", "test"]

SAMPLE_RATE = 16000  # Hz
MARKER = "corpus.json"  # written last: where it is, the corpus is whole

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_DIGITS = 7
DIGITS_SHARE = 0.3  # of the sentences; the others are commands
SHARED_WORDS = 2  # a sentence no longer than this may stand in every split: there are too few of them
MAX_TRIES = 100  # with one template, which may have no sentence of a split

COMMANDS = (
    "turn the {room} {device} {switch}",
    "turn {switch} the {room} {device} and the {device}",
    "{move} the {room} {door}",
    "set the {clock} for {number} {unit}",
    "set the {room} heating to {number} degrees",
    "go {way} {number} {distance}",
    "go {way} to the {colour} {thing} in the {room}",
    "pick up the {colour} {thing} and the {colour} {thing}",
    "put the {colour} {thing} in the {room}",
    "play {sound} in the {room} for {number} {unit}",
    "what is the {fact} in {city} {day}",
    "call {person} in {number} {unit}",
    "wait {number} {unit}",
    "{halt}",
)
SLOTS = {
    "digit": DIGITS,
    "room": ("kitchen", "bedroom", "bathroom", "garage", "garden", "office"),
    "device": ("light", "radio", "heating", "fan"),
    "switch": ("on", "off"),
    "move": ("open", "close"),
    "door": ("door", "window"),
    "clock": ("timer", "alarm"),
    "number": ("{few}", "ten", "eleven", "twelve", "{tens}", "{tens} {few}"),
    "few": DIGITS[2:],
    "tens": ("twenty", "thirty", "forty", "fifty"),
    "unit": ("seconds", "minutes", "hours"),
    "way": ("left", "right", "forward", "back"),
    "distance": ("steps", "meters"),
    "colour": ("red", "green", "blue", "yellow"),
    "thing": ("box", "ball", "cup"),
    "sound": ("music", "the radio"),
    "fact": ("time", "weather"),
    "city": ("london", "paris"),
    "day": ("today", "tomorrow", "now"),
    "person": ("home", "mother", "the office"),
    "halt": ("stop", "stop now", "go back", "go home"),
}

# Our name of each English accent → espeak-ng's.
ACCENTS = {
    "en-us": "en-us",
    "en-nyc": "en-us-nyc",
    "en-gb": "gmw/en",
    "en-rp": "en-gb-x-rp",
    "en-scotland": "en-gb-scotland",
    "en-lancaster": "en-gb-x-gbclan",
    "en-midlands": "en-gb-x-gbcwmd",
    "en-caribbean": "en-029",
}
# espeak-ng's voice variants that can be told apart and understood. Left out are whispers, creaks, robots and
# echoes; near copies of a variant in another split; those of whose isolated words a template match recognised
# less than nine in ten (Alicia, Demonic, ian, kaukovalta, Lee, Marco, norbert, shelby, david); and Reed, of
# which no two recordings are the same.
VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": (
        *("f1", "f2", "f4", "m1", "m3", "m4", "m5", "m8", "Alex", "Andrea", "Andy", "AnxiousAndy", "Denis"),
        *("Diogo", "Gene", "Henrique", "Hugo", "Mario", "Michael", "Mike", "Storm", "adam", "announcer"),
        *("antonio", "aunty", "belinda", "benjamin", "caleb", "ed", "grandma", "grandpa", "iven3", "iven4"),
        *("john", "klatt3", "klatt4", "klatt6", "marcelo", "max", "mike2", "pablo", "quincy", "sandro"),
        *("steph", "steph2", "travis", "zac"),
    ),
    "dev": ("f5", "linda", "m7", "miguel", "Tweaky", "victor"),
    "test": ("Annie", "boris", "edward", "f3", "m2", "m6", "paul", "pedro", "rob", "robert"),
}
RATE = (130, 190)  # words a minute
PITCH = (30, 70)
PITCH_RANGE = (20, 80)

PEAK = (0.2, 0.9)
TRIM_DB = 50.0
PAUSE = (0.05, 0.15)  # s before and after the speech
ROOM_NOISE = 1e-3  # of full scale, -60 dB: a microphone never records the zeros of espeak-ng's pauses


@dataclass(frozen=True, slots=True)
class Corpus:
    """The manifests of a spoken corpus."""

    train: Path
    dev: Path
    test: Path


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording to make."""

    id: str
    text: str
    speaker: str
    voice: Voice


def make_corpus(
    directory: str | Path, *, num_train: int, num_dev: int, num_test: int, seed: int = 0
) -> Corpus:
    """Speak a corpus into a directory: 16 kHz FLAC clips of 16 bits and a manifest for each split.

    The same numbers and seed give the same files. A whole corpus of the same plan is used again; anything
    else, an interrupted one for example, is made anew. MissingExtraError where espeak-ng is not installed.
    """
    directory = Path(directory)
    numbers: dict[Split, int] = {"train": num_train, "dev": num_dev, "test": num_test}
    plan = {split: plan_split(split, number, seed) for split, number in numbers.items()}
    manifests = {split: directory / f"{split}.jsonl" for split in plan}
    marker = json.dumps({**numbers, "seed": seed, "plan": hashlib.sha256(repr(plan).encode()).hexdigest()})
    if not _is_whole(directory / MARKER, marker, manifests.values()):
        _speak_corpus(directory, plan, manifests, seed)
        (directory / MARKER).write_text(marker, encoding="utf-8")
    return Corpus(**manifests)


def plan_split(split: Split, number: int, seed: int) -> list[Clip]:
    """Draw the clips of a split: the speakers take turns, each says sentences of this split alone."""
    rng = random.Random(f"{split} {seed}")
    speakers = draw_speakers(VARIANTS[split], rng)
    turns = islice(cycle(speakers.items()), number)
    return [
        Clip(f"{split}-{index:05d}", _draw_sentence(split, rng), speaker, voice)
        for index, (speaker, voice) in enumerate(turns)
    ]


def splits_of(sentence: str) -> tuple[Split, ...]:
    """The splits that may have a sentence: one of them, unless it is too short to be kept apart."""
    splits: tuple[Split, ...] = get_args(Split)
    if len(sentence.split()) <= SHARED_WORDS:
        return splits
    # A checksum, not Python's hash, which differs from process to process.
    tenth = zlib.crc32(sentence.encode()) % 10
    return ("test",) if tenth == 0 else ("dev",) if tenth == 1 else ("train",)


def vocabulary() -> set[str]:
    """Every word that the grammar can say."""
    texts = (*COMMANDS, *(text for choices in SLOTS.values() for text in choices))
    return {word for text in texts for word in text.split() if not word.startswith("{")}


def draw_speakers(variants: Iterable[str], rng: random.Random) -> dict[str, Voice]:
    """Every variant in every accent, shuffled, each pair with a rate and a pitch that it keeps."""
    pairs = [(accent, variant) for accent in ACCENTS for variant in variants]
    rng.shuffle(pairs)
    return {
        f"{accent}-{variant}": Voice(
            f"{ACCENTS[accent]}+{variant}",
            rate=rng.randint(*RATE),
            pitch=rng.randint(*PITCH),
            pitch_range=rng.randint(*PITCH_RANGE),
        )
        for accent, variant in pairs
    }


def _draw_sentence(split: Split, rng: random.Random) -> str:
    while True:
        template = _draw_template(rng)
        # Many tries, so that the short templates, which all splits share, do not crowd out the others.
        for _ in range(MAX_TRIES):
            sentence = _fill(template, rng)
            if split in splits_of(sentence):
                return sentence


def _draw_template(rng: random.Random) -> str:
    if rng.random() < DIGITS_SHARE:
        return " ".join(["{digit}"] * rng.randint(1, MAX_DIGITS))
    return rng.choice(COMMANDS)


def _fill(template: str, rng: random.Random) -> str:
    words = template.split()
    return " ".join(
        _fill(rng.choice(SLOTS[word[1:-1]]), rng) if word.startswith("{") else word for word in words
    )


def _is_whole(marker: Path, expected: str, manifests: Iterable[Path]) -> bool:
    try:
        return marker.read_text(encoding="utf-8") == expected and all(
            Path(utterance.path).is_file() for manifest in manifests for utterance in read_manifest(manifest)
        )
    except (OSError, UnicodeDecodeError, ManifestError):
        return False


def _speak_corpus(
    directory: Path, plan: dict[Split, list[Clip]], manifests: dict[Split, Path], seed: int
) -> None:
    # One new synthesizer, in the order of the plan: what espeak-ng said before colours its samples.
    synthesizer = Synthesizer()
    (directory / MARKER).unlink(missing_ok=True)
    spoken = {split: _prepared_folder(directory / split) for split in plan}
    with_split = [(split, clip) for split, clips in plan.items() for clip in clips]
    utterances: dict[Split, list[Utterance]] = {split: [] for split in plan}
    for split, clip in track(with_split, "speaking"):
        utterances[split].append(_record(synthesizer, clip, spoken[split], seed))
    for split, manifest in manifests.items():
        write_manifest(manifest, utterances[split])


def _prepared_folder(folder: Path) -> Path:
    """An existing folder without the clips of an earlier plan."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{folder.name}-*.flac"):
        old.unlink()
    return folder


def _record(synthesizer: Synthesizer, clip: Clip, folder: Path, seed: int) -> Utterance:
    wave, sample_rate = synthesizer.speak(clip.text, clip.voice)
    rng = np.random.default_rng([seed, zlib.crc32(clip.id.encode())])
    wave = in_a_room(resample(wave, sample_rate, SAMPLE_RATE), SAMPLE_RATE, rng)
    path = folder / f"{clip.id}.flac"
    soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
    return Utterance(clip.id, path, clip.text, duration=len(wave) / SAMPLE_RATE, speaker=clip.speaker)


def in_a_room(wave: FloatArray, sample_rate: int, rng: np.random.Generator) -> FloatArray:
    """Give a wave (N,) short pauses around it, a level of its own and a little noise."""
    wave = trim_silence(wave, sample_rate, TRIM_DB)
    before, after = (rng.uniform(*PAUSE, size=2) * sample_rate).astype(int)
    wave = wave * (rng.uniform(*PEAK) / np.abs(wave).max())
    noise = ROOM_NOISE * rng.standard_normal(before + len(wave) + after)
    noisy: FloatArray = (np.pad(wave, (before, after)) + noise).astype(np.float32)
    return noisy
