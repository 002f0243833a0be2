"""Audio files in, mono float32 waves at the rate that was asked for out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr

from jasper.errors import AudioError, EmptyAudioError
from jasper.storage import num_bytes, read_range
from jasper.types import FloatArray, Member, location

Source = str | Path | BinaryIO

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


def audio_info(source: Source, *, member: Member | None = None) -> AudioInfo:
    """Read the header of a source; AudioError if it is missing, unreadable, empty or cut off."""
    with open_audio(source, member) as (_, file):
        rate, num_samples = file.samplerate, file.frames
        return AudioInfo(rate, file.channels, num_samples, num_samples / rate)


def read_audio(
    source: Source,
    sample_rate: int,
    *,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    member: Member | None = None,
) -> FloatArray:
    """Read a stretch of a file as a wave (N,): float32, mono, at `sample_rate` Hz.

    The source is a local path, a URL that fsspec reads, an open file, or, with `member`, the tar in which
    the audio file lies. The stretch begins `offset` seconds into the file and lasts `duration` seconds, or to
    the end of the file where that is earlier or no duration is given. Channels are averaged, or `channel`
    (from 0) is taken. AudioError if the file is missing, unreadable, cut off, has no such channel or stretch,
    or has samples that are not finite.
    """
    with open_audio(source, member) as (name, file):
        wanted = seek_stretch(name, file, offset, duration)
        blocks = list(mono_blocks(name, file, wanted, channel))
        wave = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32)
        check_samples(name, file, wave, wanted)
        wave = resample(wave, file.samplerate, sample_rate)
        if wave.size == 0:
            raise EmptyAudioError(f"{name}: too short: less than one sample at {sample_rate} Hz")
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
def open_audio(
    source: Source, member: Member | None = None, *, name: str | None = None
) -> Iterator[tuple[str, soundfile.SoundFile]]:
    """Open a file that is whole and has samples: its name for messages, and libsndfile's view of it.

    `name` is that of an open file, where it does not know its own. Whatever fails, inside the block too,
    becomes an AudioError that has the name.
    """
    with ExitStack() as stack:
        if isinstance(source, str | Path) and member is None and isinstance(path := location(source), Path):
            name, hint = str(path), f"convert others with 'ffmpeg -i {path.name} {path.stem}.flac', and "
            if path.suffix == ".flac":  # itself
                hint = ""
            # soundfile takes names of Unicode, or of bytes, which they are on POSIX and may be anything.
            data: Path | bytes | BinaryIO = os.fsencode(path) if os.name == "posix" else path
            file = stack.enter_context(_open_local(path))
        else:
            name, hint = name or _name(source, member), ""
            data = file = _in_memory(source, member, name) if isinstance(source, str | Path) else source
        _check_whole(name, file)
        if file is data:
            file.seek(0)
        try:
            decoded = stack.enter_context(soundfile.SoundFile(data))
            if decoded.frames <= 0:
                # The sizes in these two were compared with what is there.
                kind = EmptyAudioError if decoded.format in ("WAV", "AIFF") else AudioError
                raise kind(f"{name}: has no samples; the file is empty or was cut off")
            yield name, decoded
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: soundfile wants a rate for .raw
            reason = " ".join(str(error).split(": ")[-1].split()).rstrip(".")
            raise AudioError(
                f"{name}: cannot be decoded ({reason}). Formats that can: {FORMATS}; {hint}"
                "copy a damaged file again"
            ) from None


def seek_stretch(name: str, file: soundfile.SoundFile, offset: float, duration: float | None) -> int:
    """Go to where a stretch (s) begins; returns its samples. AudioError where there is none."""
    if offset < 0 or (duration is not None and duration <= 0):
        raise AudioError(f"{name}: offset {offset} s and duration {duration} s describe no stretch of audio")
    start = round(offset * file.samplerate)
    if start >= file.frames:
        length = file.frames / file.samplerate
        raise AudioError(f"{name}: offset {offset:.3f} s is past the end ({length:.3f} s)")
    if start:
        file.seek(start)
    left: int = file.frames - start
    return left if duration is None else min(left, max(1, round(duration * file.samplerate)))


def mono_blocks(
    name: str, file: soundfile.SoundFile, wanted: int, channel: int | None
) -> Iterator[FloatArray]:
    """Read up to `wanted` samples from where the file stands: waves (N,) of one channel or of their mean."""
    if channel is not None and not 0 <= channel < file.channels:
        raise AudioError(f"{name}: there is no channel {channel}; channels are 0 to {file.channels - 1}")
    column = 0 if file.channels == 1 else channel
    left = wanted
    while left > 0:
        block = file.read(min(left, BLOCK_SAMPLES), dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        left -= len(block)
        yield block.mean(axis=1) if column is None else np.ascontiguousarray(block[:, column])


def check_samples(name: str, file: soundfile.SoundFile, samples: FloatArray, wanted: int) -> None:
    """Raise AudioError unless all `wanted` samples, (N,) or (N, channels), were read and are finite."""
    check_count(name, file, len(samples), wanted)
    check_finite(name, samples)


def check_count(name: str, file: soundfile.SoundFile, count: int, wanted: int) -> None:
    """Raise AudioError unless all `wanted` samples were read."""
    slack = MP3_SLACK if file.format == "MP3" else 0
    if count == 0 or count < wanted - slack:
        raise AudioError(
            f"{name}: damaged or cut off: {count} samples could be read, its header promises {wanted}"
        )


def check_finite(name: str, samples: FloatArray) -> None:
    """Raise AudioError for a sample that is no number."""
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: has samples that are not finite (NaN or infinity)")


def _name(source: Source, member: Member | None) -> str:
    if not isinstance(source, str | Path):
        return str(getattr(source, "name", "audio"))
    return str(source) if member is None else f"{source}, member at byte {member[0]}"


def _open_local(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from None
    raise AudioError(f"{path}: is a {'directory' if stat.S_ISDIR(mode) else 'device'}, not an audio file")


def _in_memory(source: str | Path, member: Member | None, name: str) -> BinaryIO:
    """Read a member of a tar, or the file of a URL, at once: one request each, and they are no long ones."""
    place = location(source)
    try:
        if member is None:
            return BytesIO(read_range(place, 0, num_bytes(place)))
        data = read_range(place, *member)
    except FileNotFoundError:
        raise AudioError(f"{source}: no such file") from None
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror or error}") from None
    if len(data) < member[1]:
        raise AudioError(
            f"{name}: the tar is cut off: {len(data)} of the member's {member[1]} bytes are there"
        )
    return BytesIO(data)


def _check_whole(name: str, file: BinaryIO) -> None:
    """Refuse what libsndfile would read as a shorter file without a word: cut-off WAV, AIFF and Ogg."""
    try:
        file.seek(0)
        magic = file.read(12)
        if not magic:
            raise EmptyAudioError(f"{name}: the file is empty (0 bytes)")
        if magic.startswith(b"OggS") and not _ogg_is_whole(file):
            raise AudioError(f"{name}: cut off: the last Ogg page is missing; copy the file again")
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            _check_chunks(name, file, b"data", "little")
        if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
            _check_chunks(name, file, b"SSND", "big")
    except OSError as error:
        raise AudioError(f"{name}: {error.strerror or error}") from None


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


def _check_chunks(name: str, file: BinaryIO, chunk: bytes, order: Literal["little", "big"]) -> None:
    """Walk to the chunk of samples and compare its size with what is there. `file` is behind the magic."""
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    while len(header := file.read(8)) == 8:
        size = int.from_bytes(header[4:], order)
        if header[:4] == chunk:
            there = end - file.tell()
            if there < size < STREAMED_SIZE:
                raise AudioError(f"{name}: cut off: {there} bytes of samples, its header promises {size}")
            return
        file.seek(size + size % 2, os.SEEK_CUR)
