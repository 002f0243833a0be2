"""Manifests in (JSON lines with NeMo's keys, NVIDIA's and the model zoo's JSON list), utterances out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jasper.audio import audio_info
from jasper.errors import AudioError, ManifestError
from jasper.types import Utterance


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read every utterance, in order; ids are made unique, missing durations come from the files' headers.

    An utterance without an id is named by its file's stem (and its offset, if it has one). The first line
    that cannot be used is a ManifestError that names it.
    """
    ids = UniqueIds()
    utterances = []
    for _, entry in scan_manifest(path):
        if isinstance(entry, ManifestError):
            raise entry
        if math.isnan(entry.duration):
            entry = replace(entry, duration=_duration_of_file(entry, path))
        name = ids.claim(entry.id or _default_id(entry))
        utterances.append(entry if name == entry.id else replace(entry, id=name))
    return utterances


def scan_manifest(path: str | Path) -> Iterator[tuple[int, Utterance | ManifestError]]:
    """Yield each line's number and its entry as it is stated, or its error where it cannot be used.

    An id that is not stated is empty here, and a duration that is not stated is NaN. In a JSON list,
    entries are counted in place of lines. A file that cannot be read at all raises ManifestError.
    """
    path = Path(path)
    content = _read_text(path)
    if content.lstrip().startswith("["):
        yield from _scan_list(path, content)
        return
    # Not splitlines: U+2028 and its like may stand inside a JSON string.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            yield number, _parse_entry(json.loads(line), path.parent, number)
        except json.JSONDecodeError as error:
            yield number, ManifestError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:  # json raises ValueError for an int of 4,300 digits
            yield number, ManifestError(f"{path}:{number}: {error}")


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write JSON lines, all or nothing; audio below the manifest's folder is named relative to it."""
    path = Path(path)
    folder = _absolute(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for utterance in utterances:
                file.write(json.dumps(_to_json(utterance, folder), ensure_ascii=False) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


class UniqueIds:
    """Hands out every id once: the second `a` becomes `a-2`."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # id → last suffix tried

    def claim(self, wanted: str) -> str:
        """Return the id, with a suffix where it is taken."""
        claimed = wanted
        while claimed in self._taken:
            self._taken[wanted] += 1
            claimed = f"{wanted}-{self._taken[wanted]}"
        self._taken[claimed] = 1
        return claimed


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{path}:{number}: not UTF-8: byte {raw[error.start]:#04x}") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from None


def _scan_list(path: Path, content: str) -> Iterator[tuple[int, Utterance | ManifestError]]:
    try:
        entries = json.loads(content)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: not a manifest: {error}") from None
    for number, raw in enumerate(entries, start=1):
        try:
            yield number, _parse_entry(raw, path.parent, number)
        except ManifestError as error:
            yield number, ManifestError(f"{path}: entry {number}: {error}")


def _parse_entry(raw: object, folder: Path, line: int) -> Utterance:
    if not isinstance(raw, dict):
        raise ManifestError(f"an utterance is a JSON object, not {_json_name(raw)}")
    return _parse_zoo(raw, folder, line) if "files" in raw else _parse_nemo(raw, folder, line)


def _parse_nemo(raw: Mapping[str, Any], folder: Path, line: int) -> Utterance:
    return Utterance(
        id=_name(raw, "id") or "",
        path=folder / _string(raw, "audio_filepath"),
        text=_string(raw, "text", may_be_empty=True),
        duration=_seconds(raw, "duration", math.nan),
        offset=None if raw.get("offset") is None else _seconds(raw, "offset", 0.0),
        speaker=_name(raw, "speaker"),
        line=line,
        member=_member(raw),
    )


def _parse_zoo(raw: Mapping[str, Any], folder: Path, line: int) -> Utterance:
    """One entry of NVIDIA's list. Of several files it is the one whose speed is closest to 1."""
    files = raw["files"]
    if not isinstance(files, list) or not files or not all(isinstance(file, dict) for file in files):
        raise ManifestError('"files" must be a list of one or more objects')
    file = min(files, key=lambda file: abs(_number(file, "speed", 1.0) - 1))
    duration = _seconds(file, "duration", math.nan)
    if math.isnan(duration) and _number(file, "speed", 1.0) == 1:
        duration = _seconds(raw, "original_duration", math.nan)
    return Utterance(
        id=_name(raw, "id") or "",
        path=folder / _string(file, "fname"),
        text=_zoo_text(raw, folder),
        duration=duration,
        offset=None if raw.get("offset") is None else _seconds(raw, "offset", 0.0),
        speaker=_name(raw, "speaker"),
        line=line,
    )


def _zoo_text(raw: Mapping[str, Any], folder: Path) -> str:
    if raw.get("transcript") is not None or raw.get("text_filepath") is None:
        return _string(raw, "transcript", may_be_empty=True)
    path = folder / _string(raw, "text_filepath")
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f'"text_filepath" {path} cannot be read: {error}') from None


def _string(raw: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> str:
    value = raw.get(key)
    if value is None:
        raise ManifestError(f'"{key}" is missing; keys are {", ".join(map(str, raw)) or "none"}')
    if not isinstance(value, str):
        raise ManifestError(f'"{key}" must be a string, not {_json_name(value)}')
    if not value and not may_be_empty:
        raise ManifestError(f'"{key}" is empty')
    if "\0" in value or not (value.isascii() or _is_encodable(value)):
        raise ManifestError(
            f'"{key}" has a character that no text file can hold (NUL or half a surrogate pair)'
        )
    return value


def _name(raw: Mapping[str, Any], key: str) -> str | None:
    """An id or a speaker, which NeMo's tools also write as a whole number."""
    value = raw.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _string(raw, key)


def _member(raw: Mapping[str, Any]) -> tuple[int, int] | None:
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
    if isinstance(value, bool) or not isinstance(value, int | float):
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


def _default_id(utterance: Utterance) -> str:
    stem = utterance.path.stem
    return f"{stem}-{utterance.offset:g}" if utterance.offset else stem


def _duration_of_file(utterance: Utterance, manifest: str | Path) -> float:
    where = f"{manifest}:{utterance.line}"
    try:
        duration = audio_info(utterance.path).duration - (utterance.offset or 0.0)
    except AudioError as error:
        raise ManifestError(f'{where}: no "duration", and the file does not tell: {error}') from None
    if duration < 0:
        raise ManifestError(f'{where}: "offset" {utterance.offset} s is past the end of {utterance.path}')
    return duration


def _to_json(utterance: Utterance, folder: str) -> dict[str, object]:
    if utterance.parts:
        raise ManifestError(f"{utterance.id}: a joined utterance lies in no one file and cannot be written")
    full = _absolute(utterance.path)
    below = folder.rstrip(os.sep) + os.sep
    name = full.removeprefix(below)
    raw: dict[str, object] = {
        "id": utterance.id,
        "audio_filepath": name.replace(os.sep, "/"),
        "duration": utterance.duration,
        "text": utterance.text,
    }
    if utterance.offset is not None:
        raw["offset"] = utterance.offset
    if utterance.speaker is not None:
        raw["speaker"] = utterance.speaker
    if utterance.member is not None:
        raw["member_offset"], raw["member_size"] = utterance.member
    return raw


def _absolute(path: Path) -> str:
    """As text, links kept: resolving them would tie a manifest to the place where it was written."""
    return os.path.abspath(path)  # noqa: PTH100
