"""Recordings a block at a time are what `read_audio` reads at once, from wherever they come."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from jasper.audio import read_audio
from jasper.blocks import audio_blocks, header_duration
from jasper.errors import AudioError, EmptyAudioError

RATE = 16000
RESAMPLING_TOLERANCE = 1e-4


def chord(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    rising = np.sin(2 * np.pi * (500 + 200 * time) * time)
    return (0.2 * np.sin(2 * np.pi * 300 * time) + 0.1 * rising).astype(np.float32)


def whole(source, rate=RATE, **options) -> np.ndarray:
    return np.concatenate(list(audio_blocks(source, rate, **options)))


def write_container(path: Path, wave: np.ndarray, codec: str, rate: int = 48000) -> Path:
    """Sound in what ffmpeg's libraries make of it."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="flt", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("rate", [RATE, 44100, 8000])
def test_blocks_are_the_file_read_at_once(tmp_path, monkeypatch, name, rate):
    monkeypatch.setattr("jasper.audio.BLOCK_SAMPLES", 5000)
    soundfile.write(tmp_path / name, chord(rate=rate), rate)
    blocks = list(audio_blocks(tmp_path / name, RATE))
    assert max(map(len, blocks)) <= 5000 * RATE / rate + 5000  # the resampler may hold one back
    expected = read_audio(tmp_path / name, RATE)
    assert np.concatenate(blocks).size == expected.size
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=RESAMPLING_TOLERANCE)


def test_a_channel_or_the_mean_of_them(tmp_path):
    left, right = chord(), chord()[::-1]
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(whole(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)
    np.testing.assert_array_equal(whole(tmp_path / "a.wav", channel=1), right)
    with pytest.raises(AudioError, match="no channel 2"):
        whole(tmp_path / "a.wav", channel=2)


def test_a_pipe_an_open_file_and_a_url(tmp_path):
    soundfile.write(tmp_path / "a.flac", chord(), RATE)
    data, expected = (tmp_path / "a.flac").read_bytes(), read_audio(tmp_path / "a.flac", RATE)
    reader, writer = os.pipe()
    feeding = threading.Thread(target=lambda: os.fdopen(writer, "wb").write(data), daemon=True)
    feeding.start()
    with os.fdopen(reader, "rb") as pipe:
        np.testing.assert_array_equal(whole(pipe), expected)
    feeding.join(10)
    np.testing.assert_array_equal(whole(io.BytesIO(data)), expected)
    with fsspec.open("memory://blocks/a.flac", "wb") as file:
        file.write(data)
    np.testing.assert_array_equal(whole("memory://blocks/a.flac"), expected)
    with pytest.raises(AudioError, match=r"memory://blocks/b\.flac: no such file"):
        whole("memory://blocks/b.flac")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"),
        ("a.m4a", "aac"),
        ("a.mkv", "aac"),
        ("a.webm", "libopus"),
        ("a.ts", "aac"),
        ("a.flv", "aac"),
        ("a.mpg", "mp2"),
    ],
)
def test_the_sound_of_video_containers(tmp_path, name, codec):
    wave = chord(rate=48000)
    found = whole(write_container(tmp_path / name, wave, codec))
    clean = chord()
    assert abs(found.size - clean.size) < 0.1 * RATE  # encoders fill up their last frame
    shift = np.argmax(np.correlate(found[: RATE + 4000], clean[2000:RATE], "valid")) - 2000  # and delay
    middle = found[2000 + shift : RATE + shift]
    assert np.corrcoef(middle, clean[2000:RATE])[0, 1] > 0.98
    disguised = (tmp_path / name).rename(tmp_path / "sound.wav")
    np.testing.assert_array_equal(whole(disguised), found)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.webm", "libopus"), ("a.wav", ""), ("a.mp3", "")]
)
def test_the_seconds_that_a_header_promises(tmp_path, monkeypatch, name, codec):
    path, wave = tmp_path / name, chord(rate=48000)
    if codec:
        write_container(path, wave, codec)
    else:
        soundfile.write(path, wave, 48000)
    assert header_duration(path) == pytest.approx(wave.size / 48000, abs=0.1)
    assert header_duration(f"local://{path}") is None  # all of it would have to be fetched
    path.write_bytes(b"nothing")
    assert header_duration(path) == 0
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    monkeypatch.setitem(sys.modules, "av", None)
    assert header_duration(path) is None


def test_without_pyav_a_video_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    with pytest.raises(AudioError, match=r"a\.m4a: is a video.*jasper-asr\[video\]"):
        whole(tmp_path / "a.m4a")


def test_without_fsspec_a_url_says_what_to_install(monkeypatch):
    """As an AudioError: the other recordings of a command go on."""
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(AudioError, match=r"https://x/a\.wav: fsspec is .*jasper-asr\[remote\]"):
        whole("https://x/a.wav")


def test_a_wrong_extension_is_no_matter(tmp_path):
    soundfile.write(tmp_path / "a.flac", chord(), RATE)
    wrong = (tmp_path / "a.flac").rename(tmp_path / "a.mp3")
    np.testing.assert_allclose(whole(wrong), chord(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("no.wav", None),
        ("text.wav", b"no sound at all, just a text. " * 9),
        ("broken.mp4", b"\0\0\0\x20ftypisom" + bytes(500)),
        ("broken.mkv", b"\x1aE\xdf\xa3" + bytes(500)),
        ("broken.ts", b"G" + bytes(187) + b"G" + bytes(500)),
        ("byte.aac", b"\xff"),
    ],
)
def test_what_is_no_audio_is_an_error_that_names_it(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=name):
        whole(tmp_path / name)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_truncated_file_is_an_error(tmp_path, name):
    soundfile.write(tmp_path / name, chord(20), RATE)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=name):
        whole(tmp_path / name)


def test_samples_that_are_not_finite_are_an_error(tmp_path):
    wave = chord()
    wave[-1] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        whole(tmp_path / "a.wav")


def test_empty_files_are_told_from_broken_ones(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    soundfile.write(tmp_path / "b.wav", np.zeros(0), RATE)
    for name in ("a.wav", "b.wav"):
        with pytest.raises(EmptyAudioError, match=name):
            whole(tmp_path / name)
