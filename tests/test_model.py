"""A model directory transcribes: files and waves alike, together as alone, any length, any channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_networks import small_config, write_small_model

import jasper
from jasper.audio import read_audio
from jasper.data.manifest import read_manifest
from jasper.decode import greedy
from jasper.engines import load_engine
from jasper.errors import AudioError, ConfigError, ModelError
from jasper.features import FeatureExtractor
from jasper.model import Model

RATE = 16000
ALONE_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def model(directory) -> Model:
    return jasper.load(directory)


@pytest.fixture(scope="module")
def recordings(speech) -> list[Path]:
    """Real speech of 1 to 4 s."""
    utterances = read_manifest(speech / "librispeech-test-clean-mini" / "test.jsonl")
    return [utterance.path for utterance in utterances if utterance.duration < 4][:5]


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose colour changes ten times a second, so that a random network has something to spell."""
    rng = np.random.default_rng(seed)
    pieces = []
    while sum(map(len, pieces)) < seconds * RATE:
        white = rng.standard_normal(RATE // 10)
        taps = rng.standard_normal(8)
        pieces.append(0.05 * np.convolve(white, taps, mode="same"))
    return np.clip(np.concatenate(pieces)[: round(seconds * RATE)], -1, 1).astype(np.float32)


def test_a_file_and_its_wave_give_the_same(model, recordings):
    for path in recordings:
        wave = read_audio(path, RATE)
        from_file, from_wave = model.transcribe(path), model.transcribe(wave)
        assert (from_file.text, from_file.score) == (from_wave.text, from_wave.score)
        assert (from_file.path, from_wave.path) == (path, None)
        assert from_file.duration == pytest.approx(wave.size / RATE)
        assert model.transcribe(str(path)) == from_file
    texts = {model.transcribe(path).text for path in recordings}
    assert len(texts) == len(recordings)  # or the network says the same to everything and shows nothing


def test_a_transcription_is_features_engine_and_search(directory, recordings):
    """The public pieces put together by hand."""
    config, engine = small_config(), load_engine(directory)
    features, lengths = FeatureExtractor(config.features)([read_audio(recordings[0], RATE)])
    hypothesis = greedy(*engine.log_probs(features, lengths), blank=len(config.text.labels))[0]
    text = "".join(config.text.labels[token] for token in hypothesis.tokens).strip()
    transcript = jasper.load(directory).transcribe(recordings[0])
    assert (transcript.text, transcript.score) == (text, pytest.approx(hypothesis.score))


def test_a_batch_gives_what_each_wave_gives_alone(model, recordings):
    """In NVIDIA's code greedy decoding ignored lengths, so a hypothesis depended on its batch."""
    waves = [read_audio(path, RATE) for path in recordings]
    waves += [sound(0.01), sound(0.3), np.zeros(RATE, dtype=np.float32), sound(9)]
    for together, wave in zip(model.recognize(waves), waves, strict=True):
        alone = model.recognize([wave])[0]
        np.testing.assert_allclose(together.log_probs, alone.log_probs, atol=ALONE_TOLERANCE)
        assert together.hypothesis.tokens == alone.hypothesis.tokens
        assert together.hypothesis.frames == alone.hypothesis.frames
        assert together.hypothesis.score == pytest.approx(alone.hypothesis.score, abs=1e-3)


def test_many_files_come_in_the_order_given(model, recordings):
    transcripts = list(model.transcribe_many(recordings[::-1]))
    assert [t.path for t in transcripts] == recordings[::-1]
    assert transcripts == [model.transcribe(path) for path in recordings[::-1]]


@pytest.mark.parametrize("seconds", [15.5, 17, 36, 41.3])
def test_long_audio_is_neither_cropped_nor_a_crash(model, tmp_path, seconds):
    """The superseded system cropped audio at 15 s and crashed over 35 s."""
    wave = sound(seconds)
    soundfile.write(tmp_path / "long.flac", wave, RATE, subtype="PCM_24")
    result = model.transcribe(tmp_path / "long.flac")
    assert result.duration == pytest.approx(seconds)
    recognition = model.recognize([wave])[0]
    assert len(recognition.log_probs) == -(-round(seconds * 100) // 2)  # 10 ms a frame, stride 2
    assert recognition.hypothesis.frames[-1] > 0.9 * len(recognition.log_probs)


@pytest.mark.parametrize("frame_count", ["ceil", "floor"])
@pytest.mark.parametrize("size", [1, 80, 159, 160, 161, 400])
def test_the_shortest_audio_is_no_crash(tmp_path, frame_count, size):
    """Of less than one hop NeMo's front end makes no frame, which no convolution can take."""
    model = jasper.load(write_small_model(tmp_path / "m", frame_count=frame_count))
    transcript = model.transcribe(sound(1)[:size])
    assert np.isfinite(transcript.score)
    if frame_count == "floor" and size < 160:
        assert transcript.text == ""
    together = model.recognize([sound(1)[:size], sound(1)])
    assert together[0].hypothesis.tokens == model.recognize([sound(1)[:size]])[0].hypothesis.tokens


def test_stereo_is_the_mean_of_its_channels(model, tmp_path):
    """In the superseded system stereo collapsed to two samples."""
    left, right = sound(3, 1), sound(3, 2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "mono.wav", (left + right) / 2, RATE, subtype="FLOAT")
    stereo, mono = model.transcribe(tmp_path / "stereo.wav"), model.transcribe(tmp_path / "mono.wav")
    assert (stereo.text, stereo.duration) == (mono.text, 3.0)
    second = model.transcribe(tmp_path / "stereo.wav", channel=1)
    assert second.text == model.transcribe(right).text != stereo.text


def test_the_callers_wave_is_left_as_it_is(model):
    wave = sound(1)
    kept = wave.copy()
    model.transcribe(wave)
    np.testing.assert_array_equal(wave, kept)


def test_the_same_seed_writes_the_same_model(tmp_path, model):
    again = jasper.load(write_small_model(tmp_path / "again"))
    other = jasper.load(write_small_model(tmp_path / "other", seed=1))
    wave = sound(2)
    assert again.transcribe(wave) == model.transcribe(wave) != other.transcribe(wave)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0, dtype=np.float32), "empty"),
        (np.zeros((2, RATE), dtype=np.float32), "shape"),
        (np.full(RATE, np.nan, dtype=np.float32), "not finite"),
    ],
)
def test_what_is_no_wave_is_an_error(model, wave, message):
    with pytest.raises(AudioError, match=message):
        model.transcribe(wave)


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(model, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    for name in ("broken.wav", "missing.wav"):
        with pytest.raises(AudioError, match=name):
            model.transcribe(tmp_path / name)


def test_unknown_engines_and_devices_are_errors_that_list_the_known(directory):
    with pytest.raises(ModelError, match="engine 'abacus' is unknown; known are auto, openvino, onnx, torch"):
        jasper.load(directory, engine="abacus")
    with pytest.raises(ConfigError, match="device 'abacus' is unknown; known are auto, cpu, cuda, npu, mps"):
        jasper.load(directory, device="abacus")
