"""An utterance in, the bytes of an audio file that has it out: copied, cut or encoded anew."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import soundfile

from jasper.audio import check_samples, open_audio, seek_stretch
from jasper.data.mindrecord import need_sound
from jasper.errors import AudioError
from jasper.storage import num_bytes, read_range
from jasper.types import Utterance

Target = Literal["keep", "wav", "flac", "ogg"]

# What libsndfile calls the samples of a file -> the samples of a copy that loses nothing; others are floats.
_INTEGERS = {"PCM_S8": "PCM_16", "PCM_U8": "PCM_16", "PCM_16": "PCM_16", "PCM_24": "PCM_24"}
_EXTENSIONS = {"WAVEX": "wav"}


def audio_bytes(utterance: Utterance, target: Target) -> tuple[str, bytes]:
    """The extension and the bytes of a file of the utterance alone, at its own rate, with all its channels.

    `keep` copies a file that is the utterance's as it is, and cuts a stretch of one without loss. AudioError
    where the recording cannot be read.
    """
    need_sound(utterance)
    if utterance.offset is None and target == "keep":
        return _copy(utterance)
    duration = None if utterance.offset is None else utterance.duration
    with open_audio(utterance.path, utterance.member) as (name, file):
        wanted = seek_stretch(name, file, utterance.offset or 0.0, duration)
        extension, subtype = _encoding(target, file.subtype)
        # Integers stay integers: through floats, libsndfile would scale them by 32767 and not by 32768.
        dtype = "int32" if file.subtype in _INTEGERS and extension != "ogg" else "float32"
        samples = file.read(wanted, dtype=dtype, always_2d=True)
        check_samples(name, file, samples, wanted)
        encoded = BytesIO()
        soundfile.write(encoded, samples, file.samplerate, subtype=subtype, format=extension.upper())
    return extension, encoded.getvalue()


def _copy(utterance: Utterance) -> tuple[str, bytes]:
    with open_audio(utterance.path, utterance.member) as (_, file):
        extension = _EXTENSIONS.get(file.format, file.format.lower())
    place = utterance.path
    try:
        return extension, read_range(place, *(utterance.member or (0, num_bytes(place))))
    except OSError as error:
        raise AudioError(f"{place}: {error.strerror or error}") from None


def _encoding(target: Target, subtype: str) -> tuple[str, str]:
    integers = _INTEGERS.get(subtype)
    if target == "ogg":
        return "ogg", "VORBIS"
    if target == "flac":
        return "flac", integers or "PCM_24"
    if target == "wav" or integers is None:
        return "wav", integers or "FLOAT"
    return "flac", integers
