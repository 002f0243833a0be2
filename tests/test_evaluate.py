"""A score is of every utterance, whole and once, whatever the batches; jiwer counts the same errors."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import torch
from small_networks import write_small_model

import jasper
from jasper.audio import read_audio
from jasper.data.manifest import read_manifest
from jasper.errors import AudioError
from jasper.evaluate import evaluate, recognize_utterances
from jasper.model import Model
from jasper.types import Utterance

RATE = 16000


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def model(directory) -> Model:
    return jasper.load(directory)


@pytest.fixture(scope="module")
def digits(speech) -> list[Utterance]:
    """Real recordings of half a second, at 8 kHz."""
    return read_manifest(speech / "fsdd" / "dev.jsonl")


@pytest.fixture(scope="module")
def mixed(speech, tmp_path_factory, digits) -> list[Utterance]:
    """Everything that the superseded system dropped, cropped or crashed on, among ordinary utterances."""
    folder = tmp_path_factory.mktemp("mixed")
    read = read_manifest(speech / "librispeech-test-clean-mini" / "test.jsonl")
    wave = np.concatenate([read_audio(utterance.path, RATE) for utterance in read[:8]])
    made = []
    for name, seconds in (("short", 0.02), ("over15", 15.6), ("over16", 16.9), ("over35", 36.2)):
        path = folder / f"{name}.flac"
        soundfile.write(path, wave[: round(seconds * RATE)], RATE)
        made.append(Utterance(name, path, "The quick brown fox, twice!", seconds, speaker="made"))
    assert wave.size > 36.2 * RATE
    return [*read[:2], *made[:2], *digits[:3], *made[2:]]


def texts(score) -> list[str]:
    return [utterance.hypothesis for utterance in score.utterances]


def test_every_utterance_is_scored_once_in_manifest_order(model, mixed):
    """The superseded system's evaluation dropped utterances over 16.7 s."""
    assert sorted(index for index, _ in recognize_utterances(model, mixed)) == list(range(len(mixed)))
    score = evaluate(model, mixed)
    assert [utterance.id for utterance in score.utterances] == [utterance.id for utterance in mixed]
    assert [utterance.duration for utterance in score.utterances] == [u.duration for u in mixed]


@pytest.mark.parametrize("count", [0, 1, 2, 31, 32, 33, 65])
def test_the_last_batch_is_not_refilled(model, digits, count):
    """The superseded system filled its last batch with utterances already scored: 2,703 became 2,720."""
    recognized = sorted(index for index, _ in recognize_utterances(model, digits[:count]))
    assert recognized == list(range(count))
    score = evaluate(model, digits[:count])
    assert [utterance.id for utterance in score.utterances] == [utterance.id for utterance in digits[:count]]
    assert score.words.reference_length == count  # one word each
    assert score.characters.reference_length == sum(len(utterance.text) for utterance in digits[:count])


def test_nothing_is_cropped(model, mixed):
    """The superseded system cropped audio at 15 s and kept its whole transcript."""
    steps = {mixed[i].id: len(recognition.log_probs) for i, recognition in recognize_utterances(model, mixed)}
    for utterance in mixed:
        frames = -(-round(soundfile.info(utterance.path).duration * RATE) // 160)
        assert steps[utterance.id] == -(-frames // 2), utterance.id


def test_a_batch_gives_what_each_file_gives_alone(model, mixed):
    alone = [model.recognize([read_audio(utterance.path, RATE)])[0].hypothesis for utterance in mixed]
    assert texts(evaluate(model, mixed)) == [model.tokenizer.decode(one.tokens).strip() for one in alone]


@pytest.mark.parametrize(("size", "seconds"), [(1, 240.0), (3, 240.0), (32, 1.0), (32, 40.0), (1000, 1e9)])
def test_the_score_does_not_depend_on_the_batches(model, mixed, monkeypatch, size, seconds):
    """In NVIDIA's code greedy decoding ignored lengths, so WER depended on the batch."""
    expected = evaluate(model, mixed)
    monkeypatch.setattr(import_module("jasper.evaluate"), "BATCH_SIZE", size)
    monkeypatch.setattr(import_module("jasper.evaluate"), "BATCH_SECONDS", seconds)
    assert evaluate(model, mixed) == expected


def test_a_stated_duration_that_is_too_short_crops_nothing(model, mixed):
    long = next(utterance for utterance in mixed if utterance.id == "over15")
    wrong = Utterance(long.id, long.path, long.text, duration=0.5)
    assert texts(evaluate(model, [wrong])) == texts(evaluate(model, [long]))


def test_a_stretch_of_a_file_is_that_stretch(model, mixed):
    long = next(utterance for utterance in mixed if utterance.id == "over15")
    stretch = Utterance("stretch", long.path, long.text, duration=3.0, offset=2.0)
    wave = read_audio(long.path, RATE)[2 * RATE : 5 * RATE]
    assert texts(evaluate(model, [stretch])) == [model.transcribe(wave).text]


def test_stereo_is_scored_as_the_mean_of_its_channels(model, mixed, tmp_path):
    """In the superseded system stereo collapsed to two samples."""
    wave = read_audio(mixed[0].path, RATE)
    soundfile.write(tmp_path / "s.wav", np.stack([wave, 0.5 * wave], axis=1), RATE, subtype="FLOAT")
    stereo = Utterance("stereo", tmp_path / "s.wav", mixed[0].text, wave.size / RATE)
    assert texts(evaluate(model, [stereo])) == [model.transcribe(0.75 * wave).text]


@pytest.mark.parametrize("kind", ["missing", "broken", "too short"])
def test_a_file_that_cannot_be_read_ends_the_evaluation_and_is_named(model, digits, tmp_path, kind):
    path: Path = tmp_path / "bad.wav"
    if kind == "broken":
        path.write_bytes(b"RIFF and no more")
    if kind == "too short":
        soundfile.write(path, np.array([0.5]), 48000)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        evaluate(model, [*digits[:3], Utterance("bad", path, "no", 1.0), *digits[3:5]])


def test_jiwer_counts_the_same(model, mixed):
    score = evaluate(model, mixed)
    references = [utterance.reference for utterance in score.utterances]
    assert references == [model.normalize(utterance.text) for utterance in mixed]
    words, characters = (
        jiwer.process_words(references, texts(score)),
        jiwer.process_characters(references, texts(score)),
    )
    assert score.wer == pytest.approx(words.wer)
    assert score.cer == pytest.approx(characters.cer)
    assert score.words.errors == words.substitutions + words.deletions + words.insertions
    assert score.cer > 0
    low, high = score.wer_interval
    assert low <= score.wer <= high


def test_a_perfect_model_scores_zero(model, digits):
    """References that are what the model says: the chain adds no error of its own."""
    said = [Utterance(u.id, u.path, model.transcribe(u.path).text, u.duration) for u in digits[:40]]
    said = [utterance for utterance in said if utterance.text]
    assert len(said) > 5
    score = evaluate(model, said)
    assert (score.wer, score.cer) == (0.0, 0.0)


def test_greedy_search_leaves_log_probabilities_on_the_device(directory, mixed, monkeypatch):
    """Every step of every utterance took all classes from the device, of which the best alone is read."""
    on_torch = jasper.load(directory, engine="torch", device="cpu")
    expected = dict(recognize_utterances(on_torch, mixed))
    dimensions = []
    cpu = torch.Tensor.cpu

    def leaving(tensor):
        dimensions.append(tensor.ndim)
        return cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", leaving)
    waves = [read_audio(utterance.path, RATE) for utterance in mixed]
    found = on_torch.hypotheses(waves)
    score = evaluate(on_torch, mixed)
    assert max(dimensions) == 2
    together = on_torch.recognize(waves)
    assert max(dimensions) == 3  # so that this test sees what leaves
    assert found == [
        recognition.hypothesis for recognition in together
    ]  # labels, steps and scores, to the bit
    assert texts(score) == [
        on_torch.tokenizer.decode(expected[index].hypothesis.tokens).strip() for index in range(len(mixed))
    ]
