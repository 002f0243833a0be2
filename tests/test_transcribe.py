"""A long recording says what its utterances say alone, at the same times, and silence says nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_networks import write_small_model
from test_model import sound
from tones import SAMPLE_RATE, random_texts, recipe, tones, write_corpus

import jasper
from jasper.config import DecodeConfig
from jasper.decode.greedy import walk
from jasper.errors import AudioError
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.pauses import Cutting
from jasper.train import train
from jasper.transcribe import meeting_place, transcribe

CUTTING = Cutting(longest=4.0, shortest=1.0, margin=0.2, overlap=1.0)
LEARNT = 0.2  # error rate; networks that begin elsewhere had 0 to 0.08
BLIND = replace(CUTTING, pause=99.0, utterance_pause=1.0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Of a network that knows the tones by heart."""
    folder = tmp_path_factory.mktemp("learnt")
    corpus = write_corpus(folder, random_texts(12))
    learn = {"data": {"batch_size": 4}, "optimizer": {"learning_rate": 0.02}, "train": {"epochs": 40}}
    return train(recipe(corpus, folder / "run", **learn)).directory / "last"


@pytest.fixture(scope="module")
def model(directory) -> Model:
    return jasper.load(directory)


@pytest.fixture(scope="module")
def utterances() -> list[tuple[str, np.ndarray]]:
    texts = random_texts(30, seed=7)
    return [(text, tones(text, seed).astype(np.float32)) for seed, text in enumerate(texts)]


def pause(seconds: float) -> np.ndarray:
    return noise(seconds, 0.003)


def noise(seconds: float, level: float) -> np.ndarray:
    return (level * np.random.default_rng(3).standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)


def joined(utterances, seconds: float) -> np.ndarray:
    return np.concatenate([part for _, wave in utterances for part in (wave, pause(seconds))])


def test_a_long_recording_says_what_its_utterances_say(model, utterances):
    transcript = transcribe(model, joined(utterances, 1.0), cutting=CUTTING)
    assert len(transcript.segments) == len(utterances)
    reference = " ".join(text for text, _ in utterances)
    assert count_errors(reference, transcript.text).rate < LEARNT
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    assert transcript.duration == pytest.approx(sum(wave.size for _, wave in utterances) / SAMPLE_RATE + 30)
    assert transcript.score == pytest.approx(sum(segment.score for segment in transcript.segments))


def test_words_are_where_they_were_said(model, utterances):
    transcript = transcribe(model, joined(utterances, 1.0), words=True, cutting=CUTTING)
    begin, found = 0.0, 0
    for text, wave in utterances:
        heard = [
            word for word in transcript.words if begin <= word.end < begin + wave.size / SAMPLE_RATE + 0.5
        ]
        if text.split() == [word.text for word in heard]:
            found += 1
            said = begin + 0.08 * np.cumsum([0, *(len(word) + 1 for word in text.split())])
            np.testing.assert_allclose(
                [word.start for word in heard], said[:-1], atol=0.08
            )  # in the first letter
            np.testing.assert_allclose(
                [word.end for word in heard], said[1:] - 0.08, atol=0.08
            )  # in the last
        begin += wave.size / SAMPLE_RATE + 1.0
    assert found > 0.5 * len(utterances)


def test_sound_without_a_pause_is_joined_without_a_seam(model, utterances):
    wave, text = joined(utterances, 0.08), " ".join(text for text, _ in utterances)
    assert len(wave) > 5 * CUTTING.longest * SAMPLE_RATE
    transcript = transcribe(model, wave, words=True, cutting=BLIND)
    assert count_errors(text, transcript.text).rate < 0.03
    assert [word.text for word in transcript.words] == transcript.text.split()


def test_a_stretch_does_not_grow_for_ever(model, utterances, monkeypatch):
    monkeypatch.setattr("jasper.transcribe.LONGEST_STRETCH_S", 5.0)
    transcript = transcribe(model, joined(utterances, 0.08), cutting=BLIND)
    assert len(transcript.segments) > 2
    assert all(segment.end - segment.start < 5 + CUTTING.longest for segment in transcript.segments)
    reference = " ".join(text for text, _ in utterances)
    assert count_errors(reference, transcript.text).rate < LEARNT


def test_a_file_is_read_as_its_wave(model, utterances, tmp_path):
    wave = joined(utterances, 1.0)
    soundfile.write(tmp_path / "long.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    expected = transcribe(model, wave)
    assert transcribe(model, tmp_path / "long.wav") == replace(expected, path=tmp_path / "long.wav")
    assert transcribe(model, io.BytesIO((tmp_path / "long.wav").read_bytes())) == expected
    assert model.transcribe(str(tmp_path / "long.wav")).text == expected.text


@pytest.mark.parametrize("seconds", [0, 1 / SAMPLE_RATE, 0.01, 3, 70])
@pytest.mark.parametrize("level", [0.0, 1e-4, 0.1])
def test_silence_and_noise_say_nothing(model, tmp_path, seconds, level):
    white = level * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(tmp_path / "a.wav", white, SAMPLE_RATE)
    transcript = transcribe(model, tmp_path / "a.wav", words=True)
    if seconds >= 3 or level == 0:
        assert (transcript.text, transcript.words) == ("", ())
    assert transcript.duration == pytest.approx(seconds)


def test_a_file_of_no_byte_has_an_empty_transcript(model, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    transcript = transcribe(model, tmp_path / "a.wav")
    assert (transcript.text, transcript.duration, transcript.segments) == ("", 0.0, ())


def test_a_recording_that_is_cut_off_is_an_error(model, utterances, tmp_path):
    soundfile.write(tmp_path / "a.flac", joined(utterances, 1.0), SAMPLE_RATE)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"a\.flac"):
        transcribe(model, tmp_path / "a.flac")


def test_windows_meet_where_they_agree():
    rng = np.random.default_rng(0)
    shared = np.log(rng.dirichlet(np.ones(5), 40)).astype(np.float32)
    other = shared.copy()
    other[:25] = np.log(rng.dirichlet(np.ones(5), 25))
    first, second = walk(shared, 4)[0], walk(other, 4)[0]
    assert 26 <= meeting_place(first, second, 3) < 30
    assert meeting_place(first[:1], second[:1], 3) == 0


@pytest.mark.parametrize("cutting", [CUTTING, BLIND])
def test_texts_take_no_more_than_the_best_path_from_the_device(directory, utterances, monkeypatch, cutting):
    """All posteriors left it: hushing, evidence and the joining of windows asked for them."""
    wave = np.concatenate([joined(utterances, 1.0), noise(8.0, 0.1), joined(utterances[:9], 0.08)])
    decode = DecodeConfig(evidence=3.0)
    on_torch, other = (
        jasper.load(directory, engine=name, device="cpu", decode=decode) for name in ("torch", "onnx")
    )
    dimensions, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: dimensions.append(tensor.ndim) or cpu(tensor))
    found = transcribe(on_torch, wave, cutting=cutting)
    assert max(dimensions) == 2  # a batch of windows, its steps
    with_words = transcribe(on_torch, wave, words=True, cutting=cutting)
    assert max(dimensions) == 3  # a confidence is of all alignments of a word; and this test sees what leaves
    without_words = replace(
        with_words, words=(), segments=tuple(replace(one, words=()) for one in with_words.segments)
    )
    assert found == without_words  # scores to the bit
    assert found.text == transcribe(other, wave, cutting=cutting).text
    assert len(found.text) > 100


PEAK_OF = """
import sys
import jasper
model = jasper.load(sys.argv[1], engine="torch")
print(len(model.transcribe(sys.argv[2]).text))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_memory_does_not_grow_with_the_recording(tmp_path):
    """16 minutes more are 61 MB of wave, their features and what a network makes of them more.

    Both recordings are longer than 10 minutes, after which a compiler is loaded for the features.
    """
    directory = write_small_model(tmp_path / "m")
    minute = np.concatenate([part for seed in range(12) for part in (sound(4, seed), np.zeros(16000))])
    peaks = []
    for minutes in (12, 28):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.tile(minute, minutes), 16000)
        command = [sys.executable, "-c", PEAK_OF, str(directory), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        length, peak = map(int, done.stdout.split())
        assert length > 100
        peaks.append(peak / 1024)
    assert peaks[1] - peaks[0] < 60  # MiB
