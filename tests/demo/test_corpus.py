"""The corpus of the demo: its sentences, its voices, its files, and what happens to a broken one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jasper.audio import read_audio
from jasper.config import ENGLISH_LABELS
from jasper.data.manifest import read_manifest
from jasper.demo import corpus as corpus_module
from jasper.demo.corpus import (
    MARKER,
    SAMPLE_RATE,
    SHARED_WORDS,
    VARIANTS,
    Corpus,
    make_corpus,
    plan_split,
    vocabulary,
)

NUMBERS = {"num_train": 24, "num_dev": 4, "num_test": 6}
FULL = {"train": 3000, "dev": 150, "test": 300}


@pytest.fixture(scope="module", autouse=True)
def _needs_espeak() -> None:
    pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), **NUMBERS)


def test_manifests_read_back_and_match_the_files(made: Corpus) -> None:
    splits = [read_manifest(path) for path in (made.train, made.dev, made.test)]
    assert [len(split) for split in splits] == list(NUMBERS.values())
    for utterance in (utterance for split in splits for utterance in split):
        info = soundfile.info(utterance.path)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert utterance.duration == pytest.approx(info.duration, abs=1e-4)
        assert utterance.speaker
        assert set(utterance.text) <= set(ENGLISH_LABELS)


def test_clips_are_audible_and_have_short_pauses(made: Corpus) -> None:
    for utterance in read_manifest(made.train):
        wave = read_audio(utterance.path, SAMPLE_RATE)
        assert 0.01 < np.sqrt(np.mean(wave**2)) < 0.5
        assert np.abs(wave).max() < 0.95
        loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max() + 0.005)
        assert 0.04 < loud[0] / SAMPLE_RATE < 0.3
        assert 0.04 < (len(wave) - loud[-1]) / SAMPLE_RATE < 0.3


def test_paths_in_manifests_are_relative_so_that_the_corpus_can_move(made: Corpus) -> None:
    assert str(made.train.parent) not in made.train.read_text()


def test_splits_have_no_voice_variant_in_common() -> None:
    variants = [
        {clip.voice.name.partition("+")[2] for clip in plan_split(split, number, seed=0)}
        for split, number in FULL.items()
    ]
    assert [len(heard) for heard in variants] == [len(VARIANTS[split]) for split in FULL]
    assert not variants[0] & variants[1]
    assert not variants[0] & variants[2]
    assert not variants[1] & variants[2]


def test_a_speaker_keeps_one_voice() -> None:
    clips = plan_split("train", FULL["train"], seed=0)
    assert len({(clip.speaker, clip.voice) for clip in clips}) == len({clip.speaker for clip in clips})


def test_sentences_of_dev_and_test_are_new_unless_they_are_very_short() -> None:
    train, dev, test = ({clip.text for clip in plan_split(split, n, seed=0)} for split, n in FULL.items())
    assert all(len(text.split()) <= SHARED_WORDS for text in train & (dev | test))
    assert len(test) > FULL["test"] / 2


def test_every_word_is_trained_often() -> None:
    words = [word for clip in plan_split("train", FULL["train"], seed=0) for word in clip.text.split()]
    assert 60 <= len(vocabulary()) <= 80
    assert set(words) == vocabulary()
    assert min(words.count(word) for word in vocabulary()) >= 30


def test_the_same_seed_gives_the_same_files_and_another_seed_does_not(made: Corpus, tmp_path: Path) -> None:
    make_corpus(tmp_path / "same", **NUMBERS)
    make_corpus(tmp_path / "other", **NUMBERS, seed=1)
    assert _digests(tmp_path / "same") == _digests(made.train.parent)
    assert _digests(tmp_path / "other") != _digests(made.train.parent)


def test_a_whole_corpus_is_used_again(made: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "Synthesizer", _Mute)
    assert make_corpus(made.train.parent, **NUMBERS) == made


@pytest.mark.parametrize("broken", [MARKER, "test.jsonl", "train/train-00003.flac"])
def test_a_corpus_with_a_part_missing_is_made_again(made: Corpus, broken: str) -> None:
    before = _digests(made.train.parent)
    (made.train.parent / broken).unlink()
    make_corpus(made.train.parent, **NUMBERS)
    assert _digests(made.train.parent) == before


def test_an_interrupted_corpus_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"num_train": 3, "num_dev": 1, "num_test": 1}
    with monkeypatch.context() as patch:
        patch.setattr(corpus_module, "write_manifest", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_corpus(tmp_path, **small)
    assert not (tmp_path / MARKER).exists()
    corpus = make_corpus(tmp_path, **small)
    assert len(read_manifest(corpus.train)) == 3


def test_other_numbers_replace_the_corpus_and_leave_no_stale_clips(tmp_path: Path) -> None:
    make_corpus(tmp_path, num_train=5, num_dev=1, num_test=1)
    (tmp_path / "train" / "mine.txt").write_text("kept")
    corpus = make_corpus(tmp_path, num_train=2, num_dev=1, num_test=1)
    names = {path.name for path in (tmp_path / "train").iterdir()}
    assert names == {"train-00000.flac", "train-00001.flac", "mine.txt"}
    assert len(read_manifest(corpus.train)) == 2


def _digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class _Mute:
    def __init__(self) -> None:
        raise AssertionError("a whole corpus was spoken again")
