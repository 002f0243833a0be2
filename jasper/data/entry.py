"""One JSON object of a manifest in (NeMo's keys, or NVIDIA's and the model zoo's), a checked `Entry` out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jasper.errors import ManifestError
from jasper.storage import open_binary, within
from jasper.types import Location, Member, Utterance


class Entry(NamedTuple):
    """One line of a manifest; its folder is known from the manifest."""

    id: str
    name: str  # of the file, from the manifest's folder
    text: str
    duration: float  # s
    offset: float | None  # s
    speaker: str | None
    line: int
    member: Member | None = None
    has_features: bool = False

    def utterance(self, folder: Location) -> Utterance:
        """The utterance that the line describes, in a manifest of that folder."""
        path = within(folder, self.name)
        return Utterance(
            self.id,
            path,
            self.text,
            self.duration,
            self.offset,
            self.speaker,
            self.line,
            self.member,
            self.has_features,
        )


def parse_entry(raw: object, folder: Location, line: int) -> Entry:
    """Check one JSON object; ManifestError says what is wrong with it.

    An id that is not stated is empty, and a duration that is not stated is NaN.
    """
    if not isinstance(raw, dict):
        raise ManifestError(f"an utterance is a JSON object, not {_json_name(raw)}")
    return _parse_zoo(raw, folder, line) if "files" in raw else _parse_nemo(raw, line)


def _parse_nemo(raw: Mapping[str, Any], line: int) -> Entry:
    return Entry(
        id=_name(raw, "id") or "",
        name=_string(raw, "audio_filepath"),
        text=_string(raw, "text", may_be_empty=True),
        duration=_seconds(raw, "duration", math.nan),
        offset=None if raw.get("offset") is None else _seconds(raw, "offset", 0.0),
        speaker=_name(raw, "speaker"),
        line=line,
        member=_member(raw),
    )


def _parse_zoo(raw: Mapping[str, Any], folder: Location, line: int) -> Entry:
    """One entry of NVIDIA's list. Of several files it is the one whose speed is closest to 1."""
    files = raw["files"]
    if not isinstance(files, list) or not files or not all(isinstance(file, dict) for file in files):
        raise ManifestError('"files" must be a list of one or more objects')
    file = min(files, key=lambda file: abs(_number(file, "speed", 1.0) - 1))
    duration = _seconds(file, "duration", math.nan)
    if math.isnan(duration) and _number(file, "speed", 1.0) == 1:
        duration = _seconds(raw, "original_duration", math.nan)
    return Entry(
        id=_name(raw, "id") or "",
        name=_string(file, "fname"),
        text=_zoo_text(raw, folder),
        duration=duration,
        offset=None if raw.get("offset") is None else _seconds(raw, "offset", 0.0),
        speaker=_name(raw, "speaker"),
        line=line,
    )


def _zoo_text(raw: Mapping[str, Any], folder: Location) -> str:
    if raw.get("transcript") is not None or raw.get("text_filepath") is None:
        return _string(raw, "transcript", may_be_empty=True)
    path = within(folder, _string(raw, "text_filepath"))
    try:
        with open_binary(path) as file:
            return file.read().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f'"text_filepath" {path} cannot be read: {error}') from None


def _string(raw: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> str:
    value = raw.get(key)
    if isinstance(value, str) and value and value.isascii() and "\0" not in value:
        return value
    if value is None:
        raise ManifestError(f'"{key}" is missing; keys are {", ".join(map(str, raw)) or "none"}')
    if not isinstance(value, str):
        raise ManifestError(f'"{key}" must be a string, not {_json_name(value)}')
    if not value and not may_be_empty:
        raise ManifestError(f'"{key}" is empty')
    if "\0" in value or not _is_encodable(value):
        raise ManifestError(
            f'"{key}" has a character that no text file can hold (NUL or half a surrogate pair)'
        )
    return value


def _name(raw: Mapping[str, Any], key: str) -> str | None:
    """An id or a speaker, which NeMo's tools also write as a whole number."""
    value = raw.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None if value is None else _string(raw, key)


def _member(raw: Mapping[str, Any]) -> Member | None:
    """Where in a tar the audio file lies; the two keys go together."""
    offset, size = raw.get("member_offset"), raw.get("member_size")
    if offset is None and size is None:
        return None
    return _num_bytes("member_offset", offset), _num_bytes("member_size", size)


def _num_bytes(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestError(f'"{key}" must be a number of bytes, not {value!r}')
    return value


def _seconds(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = _number(raw, key, default)
    if value < 0:
        raise ManifestError(f'"{key}" is {value} s; it cannot be negative')
    return value


def _number(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = raw.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ManifestError(f'"{key}" must be a number, not {_json_name(value)}')
    try:
        number = float(value)
    except OverflowError:  # an int of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise ManifestError(f'"{key}" must be finite, not {number}')
    return number


def _json_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _is_encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
