"""Audio files in, mono float32 waves at the rate that was asked for out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr

from jasper.errors import AudioError
from jasper.types import FloatArray

FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf"
BLOCK_SAMPLES = 1 << 20  # read at a time: a header that promises too much allocates no more than this
MP3_SLACK = 2 * 1152  # samples, two MP3 frames: the decoder may stop that far from the header's count
OGG_PAGE_LIMIT = 65307  # bytes, the longest page (RFC 3533)
STREAMED_SIZE = 0x7FFFF000  # bytes; sizes from here up are what ffmpeg and sox write into a pipe
TRIM_FRAME_S = 0.025


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a file says."""

    sample_rate: int  # Hz
    channels: int
    num_samples: int  # of one channel
    duration: float  # s


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header. AudioError if the file is missing, unreadable, empty or cut off."""
    with _open(Path(path)) as file:
        rate, num_samples = file.samplerate, file.frames
        return AudioInfo(rate, file.channels, num_samples, num_samples / rate)


def read_audio(
    path: str | Path,
    sample_rate: int,
    *,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> FloatArray:
    """Read a stretch of a file as a wave (N,): float32, mono, at `sample_rate` Hz.

    The stretch begins `offset` seconds into the file and lasts `duration` seconds, or to the end of the
    file where that is earlier or no duration is given. Channels are averaged, or `channel` (from 0) is
    taken. AudioError if the file is missing, unreadable, cut off, has no such channel or stretch, or has
    samples that are not finite.
    """
    path = Path(path)
    if offset < 0 or (duration is not None and duration <= 0):
        raise AudioError(f"{path}: offset {offset} s and duration {duration} s describe no stretch of audio")
    with _open(path) as file:
        if channel is not None and not 0 <= channel < file.channels:
            raise AudioError(f"{path}: there is no channel {channel}; channels are 0 to {file.channels - 1}")
        start = round(offset * file.samplerate)
        if start >= file.frames:
            length = file.frames / file.samplerate
            raise AudioError(f"{path}: offset {offset:.3f} s is past the end ({length:.3f} s)")
        wanted = file.frames - start
        if duration is not None:
            wanted = min(wanted, max(1, round(duration * file.samplerate)))
        if start:
            file.seek(start)
        wave = _read_mono(file, wanted, channel)
        _check_read(path, file, wave, wanted)
        wave = resample(wave, file.samplerate, sample_rate)
        if wave.size == 0:
            raise AudioError(f"{path}: too short: less than one sample at {sample_rate} Hz")
        return wave


def resample(wave: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """Change the rate of a wave (N,); the same wave comes back where the rates are equal."""
    if from_rate == to_rate:
        return wave
    resampled: FloatArray = soxr.resample(wave, from_rate, to_rate, quality="HQ")
    return resampled.astype(np.float32, copy=False)


def trim_silence(wave: FloatArray, sample_rate: int, top_db: float = 60.0) -> FloatArray:
    """Cut what is more than `top_db` below the loudest 25 ms off both ends of a wave (N,); a view."""
    if wave.size == 0:
        return wave
    frame = max(1, round(TRIM_FRAME_S * sample_rate))
    starts = np.arange(0, wave.size, frame)
    samples = np.diff(starts, append=wave.size)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / samples
    loud = np.flatnonzero(power >= power.max() * 10 ** (-top_db / 10))
    return wave[starts[loud[0]] : starts[loud[-1]] + samples[loud[-1]]]


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open a file that is whole and has samples; whatever fails inside becomes an AudioError."""
    _check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames <= 0:
                raise AudioError(f"{path}: has no samples; the file is empty or was cut off")
            yield file
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: soundfile wants a rate for .raw
        reason = " ".join(str(error).split(": ")[-1].split()).rstrip(".")
        raise AudioError(
            f"{path}: cannot be decoded ({reason}). Formats that can: {FORMATS}; convert others with "
            f"'ffmpeg -i {path.name} {path.stem}.flac', and copy a damaged file again"
        ) from None


def _read_mono(file: soundfile.SoundFile, wanted: int, channel: int | None) -> FloatArray:
    """Read up to `wanted` samples from where the file stands, in blocks, as one channel."""
    blocks: list[FloatArray] = []
    left = wanted
    while left > 0:
        block = file.read(min(left, BLOCK_SAMPLES), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        left -= len(block)
        column = 0 if file.channels == 1 else channel
        blocks.append(block.mean(axis=1) if column is None else block[:, column])
    if not blocks:
        return np.empty(0, dtype=np.float32)
    return np.ascontiguousarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))


def _check_read(path: Path, file: soundfile.SoundFile, wave: FloatArray, wanted: int) -> None:
    slack = MP3_SLACK if file.format == "MP3" else 0
    if wave.size == 0 or wave.size < wanted - slack:
        raise AudioError(
            f"{path}: damaged or cut off: {wave.size} samples could be read, its header promises {wanted}"
        )
    if not np.isfinite(wave).all():
        raise AudioError(f"{path}: has samples that are not finite (NaN or infinity)")


def _check_whole(path: Path) -> None:
    """Refuse what libsndfile would read as a shorter file without a word: cut-off WAV, AIFF and Ogg."""
    if not path.is_file():
        what = "is a directory, not an audio file" if path.is_dir() else "no such file"
        raise AudioError(f"{path}: {what}")
    try:
        with path.open("rb") as file:
            magic = file.read(12)
            if not magic:
                raise AudioError(f"{path}: the file is empty (0 bytes)")
            if magic.startswith(b"OggS") and not _ogg_is_whole(file):
                raise AudioError(f"{path}: cut off: the last Ogg page is missing; copy the file again")
            if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
                _check_chunks(path, file, b"data", "little")
            if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
                _check_chunks(path, file, b"SSND", "big")
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from None


def _ogg_is_whole(file: BinaryIO) -> bool:
    """Whether the last page carries the end-of-stream flag and all of its bytes (RFC 3533, section 6)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OGG_PAGE_LIMIT - 1))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:
        return False
    segments = page[27 : 27 + page[26]]
    return len(page) >= 27 + page[26] + sum(segments)


def _check_chunks(path: Path, file: BinaryIO, name: bytes, order: Literal["little", "big"]) -> None:
    """Walk to the chunk of samples and compare its size with what is there. `file` is behind the magic."""
    end = os.fstat(file.fileno()).st_size
    while len(header := file.read(8)) == 8:
        size = int.from_bytes(header[4:], order)
        if header[:4] == name:
            there = end - file.tell()
            if there < size < STREAMED_SIZE:
                raise AudioError(f"{path}: cut off: {there} bytes of samples, its header promises {size}")
            return
        file.seek(size + size % 2, os.SEEK_CUR)
