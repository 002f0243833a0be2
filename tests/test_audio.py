"""Real files of every format, whole, cut, damaged and odd."""

import contextlib
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from jasper.audio import audio_info, read_audio, resample, trim_silence
from jasper.errors import AudioError

RATE = 16000
FORMATS = {
    "a.wav": {},
    "a.flac": {},
    "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.mp3": {},
    "a.aiff": {},
}
LOSSLESS = ("a.wav", "a.flac", "a.aiff")


def tones(seconds=3.0, rate=RATE):
    """A chord that changes, and a little noise so that no codec finds it too easy."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(time.size)
    wave = 0.2 * np.sin(2 * np.pi * 300 * time) + 0.1 * np.sin(2 * np.pi * (500 + 200 * time) * time)
    return (wave + 0.02 * noise).astype(np.float32)


def write(folder: Path, name: str, wave, rate=RATE) -> Path:
    path = folder / name
    try:
        soundfile.write(path, wave, rate, **FORMATS.get(name, {}))
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        pytest.skip(f"this libsndfile does not write {name}: {error}")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(tmp_path, name):
    wave = tones()
    path = write(tmp_path, name, wave)
    read = read_audio(path, RATE)
    assert read.dtype == np.float32
    assert read.shape == wave.shape
    if name in LOSSLESS:
        np.testing.assert_allclose(read, wave, atol=1 / 32768)
    info = audio_info(path)
    assert (info.sample_rate, info.channels, info.num_samples) == (RATE, 1, wave.size)
    assert info.duration == pytest.approx(3.0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_stretch_is_the_same_as_the_cut_of_the_whole(tmp_path, name):
    path = write(tmp_path, name, tones())
    whole = read_audio(path, RATE)
    stretch = read_audio(path, RATE, offset=1.0, duration=0.5)
    # Opus predicts from what came before, which a decoder that starts later does not quite have.
    tolerance = 5e-3 if name == "a.opus" else 1e-4
    np.testing.assert_allclose(stretch, whole[RATE : RATE + RATE // 2], atol=tolerance)
    np.testing.assert_allclose(read_audio(path, RATE, offset=2.5), whole[RATE * 5 // 2 :], atol=tolerance)


def test_a_stretch_ends_with_the_file(tmp_path):
    path = write(tmp_path, "a.wav", tones())
    assert read_audio(path, RATE, offset=2.5, duration=9.0).size == RATE // 2


def test_long_files_are_read_in_blocks(tmp_path, monkeypatch):
    wave = tones()
    path = write(tmp_path, "a.wav", wave)
    monkeypatch.setattr("jasper.audio.BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(read_audio(path, RATE), wave, atol=1 / 32768)


def test_channels_are_averaged_or_chosen(tmp_path):
    """The superseded system turned stereo into two samples."""
    left, right = tones(), -0.5 * tones()
    path = write(tmp_path, "a.wav", np.stack([left, right], axis=1))
    np.testing.assert_allclose(read_audio(path, RATE), (left + right) / 2, atol=1 / 32768)
    np.testing.assert_allclose(read_audio(path, RATE, channel=1), right, atol=1 / 32768)
    assert audio_info(path).channels == 2
    with pytest.raises(AudioError, match="no channel 2; channels are 0 to 1"):
        read_audio(path, RATE, channel=2)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_rate_becomes_the_rate_asked_for(tmp_path, rate):
    time = np.arange(2 * rate) / rate
    path = write(tmp_path, "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate)
    wave = read_audio(path, RATE)
    assert wave.size == 2 * RATE
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    np.testing.assert_allclose(wave[1000:-1000], expected[1000:-1000], atol=1e-3)


def test_resampling_to_the_same_rate_changes_nothing():
    wave = tones()
    assert resample(wave, RATE, RATE) is wave


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_cut_off_file_is_an_error(tmp_path, name, kept):
    """libsndfile reads a cut-off WAV, AIFF or Ogg as a shorter file without a word."""
    path = write(tmp_path, name, tones())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(AudioError, match=r"cut off|cannot be decoded"):
        read_audio(path, RATE)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus"])
def test_damage_in_the_middle_is_an_error(tmp_path, name):
    path = write(tmp_path, name, tones())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(byte ^ 0x5A for byte in content[middle : middle + 100])
    path.write_bytes(content)
    with pytest.raises(AudioError):
        read_audio(path, RATE)


@pytest.mark.parametrize("name", FORMATS)
def test_random_damage_never_crashes(tmp_path, name):
    content = write(tmp_path, name, tones(0.5)).read_bytes()
    rng = np.random.default_rng(1)
    for trial in range(20):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 8):
            damaged[position] = rng.integers(256)
        path = tmp_path / f"{trial}-{name}"
        path.write_bytes(damaged)
        with contextlib.suppress(AudioError):
            assert np.isfinite(read_audio(path, RATE)).all()


def test_a_wav_from_a_pipe_has_no_size_and_is_read(tmp_path):
    wave = tones()
    path = write(tmp_path, "a.wav", wave)
    content = bytearray(path.read_bytes())
    at = content.find(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    content[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert read_audio(path, RATE).size == wave.size


def test_a_header_that_promises_terabytes_allocates_nothing(tmp_path):
    path = write(tmp_path, "a.flac", tones(0.5))
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # the 36 bits of STREAMINFO's total samples
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(AudioError):
        read_audio(path, RATE)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.wav", None, "no such file"),
        ("empty.wav", b"", "empty"),
        (
            "speech.m4a",
            b"\0\0\0\x20ftypM4A " + bytes(200),
            r"Formats that can: wav, flac.*ffmpeg -i speech\.m4a",
        ),
        ("a.raw", bytes(200), "cannot be decoded"),
        ("text.wav", b"no audio at all, just a text. " * 9, "cannot be decoded"),
    ],
)
def test_what_is_no_audio_is_told_apart(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for read in (audio_info, lambda path: read_audio(path, RATE)):
        with pytest.raises(AudioError, match=message):
            read(path)


def test_a_folder_is_no_audio(tmp_path):
    with pytest.raises(AudioError, match="is a directory"):
        read_audio(tmp_path, RATE)


def test_a_file_without_samples_is_an_error(tmp_path):
    path = write(tmp_path, "a.wav", np.zeros(0))
    with pytest.raises(AudioError, match="no samples"):
        audio_info(path)


def test_samples_that_are_not_finite_are_an_error(tmp_path):
    path = tmp_path / "a.wav"
    wave = tones()
    wave[100] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        read_audio(path, RATE)


@pytest.mark.parametrize(
    "stretch", [{"offset": 3.0}, {"offset": 99.0}, {"offset": -1.0}, {"duration": 0.0}, {"duration": -1.0}]
)
def test_a_stretch_that_is_not_there_is_an_error(tmp_path, stretch):
    path = write(tmp_path, "a.wav", tones())
    with pytest.raises(AudioError, match=r"past the end|no stretch"):
        read_audio(path, RATE, **stretch)


def test_silence_is_trimmed_from_both_ends_alone():
    silence = np.zeros(RATE, dtype=np.float32)
    speech = np.concatenate([tones(0.5), silence, tones(0.5)])
    trimmed = trim_silence(np.concatenate([silence, speech, silence]), RATE)
    assert abs(trimmed.size - speech.size) <= 2 * 0.025 * RATE
    assert np.flatnonzero(trimmed).size == np.flatnonzero(speech).size


@pytest.mark.parametrize("wave", [np.zeros(5000), np.ones(1), np.r_[np.zeros(3999), 1e-9], np.zeros(0)])
def test_trimming_leaves_something_of_every_wave(wave):
    trimmed = trim_silence(wave.astype(np.float32), RATE)
    assert (trimmed.size > 0) == (wave.size > 0)


def test_trimming_respects_its_threshold():
    quiet, loud = np.full(RATE, 1e-3, np.float32), np.full(RATE, 1.0, np.float32)
    wave = np.concatenate([quiet, loud])  # 60 dB apart, give or take a rounding
    assert trim_silence(wave, RATE, top_db=61).size == wave.size
    assert trim_silence(wave, RATE, top_db=59).size == loud.size


def put_in_tar(folder: Path, *paths: Path) -> tuple[Path, dict[str, tuple[int, int]]]:
    """A tar of the files, and the place of each by Python's own reading of it."""
    tar = folder / "a.tar"
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as file:
        for path in paths:
            file.add(path, path.name)
    with tarfile.open(tar) as file:
        return tar, {member.name: (member.offset_data, member.size) for member in file}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_the_same_in_a_tar_and_as_an_open_file(tmp_path, name):
    path, other = write(tmp_path, name, tones()), write(tmp_path, "b.wav", -tones(1.0))
    tar, members = put_in_tar(tmp_path, other, path, other)
    asked = {"offset": 0.5, "duration": 1.25}
    expected = read_audio(path, RATE, **asked)
    np.testing.assert_array_equal(read_audio(tar, RATE, member=members[name], **asked), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_audio(file, RATE, **asked), expected)
    assert audio_info(tar, member=members[name]) == audio_info(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_the_same_by_url(tmp_path, name):
    path = write(tmp_path, name, tones())
    tar, members = put_in_tar(tmp_path, path)
    url = f"memory://{tmp_path.name}/{name}"
    for source, place in ((path, url), (tar, f"{url}.tar")):
        fsspec.open(place, "wb").open().write(source.read_bytes())
    expected = read_audio(path, RATE)
    np.testing.assert_array_equal(read_audio(url, RATE), expected)
    np.testing.assert_array_equal(read_audio(f"{url}.tar", RATE, member=members[name]), expected)
    with pytest.raises(AudioError, match="none: no such file"):
        read_audio(f"memory://{tmp_path.name}/none", RATE)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_in_a_tar_too(tmp_path, name):
    """libsndfile reads a cut-off WAV, AIFF or Ogg as a shorter file, without a word."""
    path = write(tmp_path, name, tones())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    tar, members = put_in_tar(tmp_path, path)
    if name == "a.mp3":
        pytest.skip("half an MP3 file is an MP3 file")
    with pytest.raises(AudioError, match=r"a\.tar, member at byte 512: "):
        read_audio(tar, RATE, member=members[name])


@pytest.mark.parametrize("left", [0, 300, 512, 513, 20_000])
def test_a_tar_that_is_cut_off_is_named(tmp_path, left):
    path = write(tmp_path, "a.wav", tones())
    tar, members = put_in_tar(tmp_path, path)
    tar.write_bytes(tar.read_bytes()[:left])
    there = max(0, left - 512)
    with pytest.raises(AudioError, match=rf"a\.tar, member at byte 512: .* cut off: {there} of"):
        read_audio(tar, RATE, member=members["a.wav"])
