"""A recording of any length in, its wave a block at a time out, in memory that does not grow with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import soxr

from jasper.audio import audio_info, check_count, check_finite, mono_blocks, open_audio
from jasper.errors import AudioError, EmptyAudioError, MissingExtraError
from jasper.storage import open_binary
from jasper.types import FloatArray, location

if TYPE_CHECKING:
    from av.container import InputContainer

CONTAINER_HEAD = 189  # bytes that tell a container


def audio_blocks(
    source: str | Path | BinaryIO, sample_rate: int, *, channel: int | None = None
) -> Iterator[FloatArray]:
    """Read a recording as waves (N,), float32, mono, at `sample_rate` Hz, that follow one another.

    The source is a local path, a URL that fsspec reads, or an open file, standard input for example; what
    cannot be sought in, a pipe too, is copied to a temporary file first. Channels are averaged, or `channel`
    (from 0) is taken. Besides what libsndfile reads, the sound of video containers is read where PyAV is
    installed.
    Raises AudioError as `read_audio` does, for a recording that turns out to be cut off after its blocks;
    EmptyAudioError where it has no samples.
    """
    with ExitStack() as stack:
        name, data = _seekable(source, stack)
        if _is_container(_head(name, data)):
            yield from _container_blocks(name, data, sample_rate, channel)
            return
        _, file = stack.enter_context(open_audio(data, name=name))
        yield from resample_blocks(_checked(name, file, channel), file.samplerate, sample_rate)


def header_duration(source: str | Path | BinaryIO) -> float | None:
    """Seconds of sound that a recording promises, 0 where it cannot be read.

    None where that would take reading all of it: URLs, pipes, and containers without PyAV or a duration.
    """
    place = location(source) if isinstance(source, str | Path) else None
    if not isinstance(place, Path) or _is_pipe(place):
        return None
    if _is_container(_head(str(place), place)):
        return _container_duration(place)
    try:
        return audio_info(place).duration
    except AudioError:
        return 0.0


def resample_blocks(blocks: Iterable[FloatArray], from_rate: int, to_rate: int) -> Iterator[FloatArray]:
    """Change the rate of a wave that comes in blocks (N,), as `audio.resample` does to one that is whole."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _checked(name: str, file: soundfile.SoundFile, channel: int | None) -> Iterator[FloatArray]:
    count = 0
    for block in mono_blocks(name, file, file.frames, channel):
        check_finite(name, block)
        count += block.size
        yield block
    check_count(name, file, count, file.frames)


def _seekable(source: str | Path | BinaryIO, stack: ExitStack) -> tuple[str, Path | BinaryIO]:
    """A name for messages, and a local path or an open file that can be sought in."""
    if isinstance(source, str | Path):
        place = location(source)
        if isinstance(place, Path) and not _is_pipe(place):
            return str(place), place
        try:
            return str(place), _spooled(stack.enter_context(open_binary(place)), stack)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
            raise AudioError(f"{place}: {reason}") from None
        except MissingExtraError as error:
            raise AudioError(f"{place}: {error}") from None
    name = str(getattr(source, "name", "audio"))
    return name, source if source.seekable() else _spooled(source, stack)


def _is_pipe(path: Path) -> bool:
    """Whether a name is one of a pipe, as a shell's `<(command)` is."""
    try:
        return path.is_fifo()
    except OSError:  # a name too long, a folder that is closed: `open_audio` has more to say
        return False


def _spooled(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    shutil.copyfileobj(stream, file)
    return file


def _head(name: str, data: Path | BinaryIO) -> bytes:
    """The first bytes; none where there is no file, about which `open_audio` has more to say."""
    if isinstance(data, Path):
        try:
            with data.open("rb") as file:
                return file.read(CONTAINER_HEAD)
        except OSError:
            return b""
    data.seek(0)
    head = data.read(CONTAINER_HEAD)
    data.seek(0)
    return head


def _is_container(head: bytes) -> bool:
    """Whether libsndfile does not read it and ffmpeg's libraries do."""
    return (
        head[4:8] == b"ftyp"  # MP4, M4A, QuickTime
        or head[:4] == b"\x1aE\xdf\xa3"  # Matroska, WebM
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:4] == b"0&\xb2u"  # ASF: WMA, WMV
        or head[:3] == b"FLV"
        or head[:4] == b"\0\0\1\xba"  # MPEG program stream
        or (head[:1] == b"G" and head[188:189] == b"G")  # MPEG transport stream, packets of 188 bytes
        or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0)  # AAC in ADTS frames
    )


def _container_duration(path: Path) -> float | None:
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            return None if container.duration is None else container.duration / av.time_base
    except av.FFmpegError:
        return None


def _container_blocks(
    name: str, data: Path | BinaryIO, sample_rate: int, channel: int | None
) -> Iterator[FloatArray]:
    try:
        import av
    except ImportError:
        raise AudioError(
            f"{name}: is a video or AAC file; to read it run: pip install 'jasper-asr[video]'"
        ) from None
    try:
        with av.open(str(data) if isinstance(data, Path) else data) as container:
            if not container.streams.audio:
                raise EmptyAudioError(f"{name}: has no sound")
            rate = container.streams.audio[0].rate
            yield from resample_blocks(_frames_of(name, container, channel), rate, sample_rate)
    except av.FFmpegError as error:
        raise AudioError(f"{name}: cannot be decoded ({error.strerror or error})") from None


def _frames_of(name: str, container: InputContainer, channel: int | None) -> Iterator[FloatArray]:
    import av

    planar = av.AudioResampler(format="fltp")
    for decoded in container.decode(audio=0):
        for frame in planar.resample(decoded):
            samples = frame.to_ndarray()  # (channels, N)
            if channel is not None and not 0 <= channel < len(samples):
                raise AudioError(
                    f"{name}: there is no channel {channel}; channels are 0 to {len(samples) - 1}"
                )
            wave = samples.mean(axis=0) if channel is None else samples[channel]
            check_finite(name, wave)
            yield np.ascontiguousarray(wave, dtype=np.float32)
