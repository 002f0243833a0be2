"""Manifests in (JSON lines with NeMo's keys, NVIDIA's JSON list, MindRecord shards), utterances out."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from jasper.audio import audio_info
from jasper.config import ENGLISH_LABELS
from jasper.data.entry import Entry, parse_entry
from jasper.data.mindrecord import is_mindrecord, places_at, read_shard, scan_shard
from jasper.data.table import Columns, UtteranceTable
from jasper.errors import AudioError, ManifestError
from jasper.storage import folder_of, new_file, open_binary, stem
from jasper.text import Tokenizer
from jasper.types import Location, Utterance, location

LINES_AT_A_TIME = 1024
BOM = b"\xef\xbb\xbf"


def read_manifest(path: str | Path) -> list[Utterance]:
    """Read every utterance, in order; ids are made unique, missing durations come from the files' headers.

    The path may be a URL. An utterance without an id is named by its file's stem (and its offset, if it has
    one). The first line that cannot be used is a ManifestError that names it.
    """
    return list(read_table(path))


def read_table(*paths: str | Path, tokenizer: Tokenizer | None = None) -> UtteranceTable:
    """Read manifests, one after the other, as `read_manifest` does; ids are made unique in each.

    A folder stands for the MindRecord shards in it, and a pattern for the files that it names. The tokenizer
    spells what the model zoo's shards have of transcripts, numbers; by default with the English letters.
    """
    columns = Columns()
    for place in (place for path in paths for place in places_at(location(path))):
        entries = _complete(place, tokenizer)
        while chunk := list(islice(entries, LINES_AT_A_TIME)):
            columns.extend(chunk, folder_of(place))
    return UtteranceTable(columns)


def _complete(place: Location, tokenizer: Tokenizer | None) -> Iterator[Entry]:
    """Yield the entries of a manifest with their ids and durations; its first error is raised."""
    ids, folder = UniqueIds(), folder_of(place)
    for _, entry in scan_entries(place, tokenizer):
        if isinstance(entry, ManifestError):
            raise entry
        if math.isnan(entry.duration):
            entry = entry._replace(duration=_duration_of_file(entry.utterance(folder), place))
        name = ids.claim(entry.id or _default_id(entry))
        yield entry if name == entry.id else entry._replace(id=name)


def scan_manifest(path: str | Path) -> Iterator[tuple[int, Utterance | ManifestError]]:
    """Yield each line's number and its utterance as it is stated, or its error where it cannot be used."""
    for place in places_at(location(path)):
        folder = folder_of(place)
        for number, entry in scan_entries(place):
            yield number, entry.utterance(folder) if isinstance(entry, Entry) else entry


def scan_entries(
    place: Location, tokenizer: Tokenizer | None = None
) -> Iterator[tuple[int, Entry | ManifestError]]:
    """Yield each line's number and its entry as it is stated, or its error where it cannot be used.

    In a JSON list, entries are counted in place of lines, and in a MindRecord shard rows. A file that cannot
    be read at all raises ManifestError.
    """
    folder = folder_of(place)
    if isinstance(place, Path) and is_mindrecord(place):
        yield from _scan_shard(place, tokenizer)
        return
    try:
        with open_binary(place) as file:
            first = file.readline()
            if first.removeprefix(BOM).lstrip().startswith(b"["):
                yield from _scan_list(place, folder, first + file.read())
                return
            # bytes.split and not str.splitlines: U+2028 and its like may stand inside a JSON string.
            for number, line in enumerate(chain([first.removeprefix(BOM)], file), start=1):
                if line and not line.isspace():
                    yield number, _scan_line(place, folder, number, line)
    except OSError as error:
        raise ManifestError(f"{place}: cannot be read: {error.strerror or error}") from None


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write JSON lines, all or nothing; audio below the manifest's folder is named relative to it."""
    place = location(path)
    folder = _absolute(folder_of(place))
    try:
        with new_file(place) as file:
            for utterance in utterances:
                line = json.dumps(_to_json(utterance, folder), ensure_ascii=False)
                file.write(line.encode() + b"\n")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written: {error.strerror or error}") from None


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


def _scan_line(place: Location, folder: Location, number: int, line: bytes) -> Entry | ManifestError:
    where = f"{place}:{number}"
    try:
        return parse_entry(json.loads(line.decode()), folder, number)
    except UnicodeDecodeError as error:
        return ManifestError(f"{where}: not UTF-8: byte {line[error.start]:#04x}")
    except json.JSONDecodeError as error:
        return ManifestError(f"{where}: not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # json raises ValueError for an int of 4,300 digits
        return ManifestError(f"{where}: {error}")


def _scan_list(
    place: Location, folder: Location, content: bytes
) -> Iterator[tuple[int, Entry | ManifestError]]:
    try:
        entries = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{place}:{number}: not UTF-8: byte {content[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise ManifestError(
            f"{place}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{place}: not a manifest: {error}") from None
    for number, raw in enumerate(entries, start=1):
        try:
            yield number, parse_entry(raw, folder, number)
        except ManifestError as error:
            yield number, ManifestError(f"{place}: entry {number}: {error}")


def _scan_shard(path: Path, tokenizer: Tokenizer | None) -> Iterator[tuple[int, Entry | ManifestError]]:
    has_features = read_shard(path).num_mels is not None
    for number, raw in scan_shard(path, tokenizer or Tokenizer(ENGLISH_LABELS)):
        if isinstance(raw, ManifestError):
            yield number, raw
            continue
        try:
            yield number, parse_entry(raw, path.parent, number)._replace(has_features=has_features)
        except ManifestError as error:
            yield number, ManifestError(f"{path}: row {number}: {error}")


def _default_id(entry: Entry) -> str:
    name = stem(entry.name)
    return f"{name}-{entry.offset:g}" if entry.offset else name


def _duration_of_file(utterance: Utterance, manifest: Location) -> float:
    where = f"{manifest}:{utterance.line}"
    try:
        duration = audio_info(utterance.path, member=utterance.member).duration - (utterance.offset or 0.0)
    except AudioError as error:
        raise ManifestError(f'{where}: no "duration", and the file does not tell: {error}') from None
    if duration < 0:
        raise ManifestError(f'{where}: "offset" {utterance.offset} s is past the end of {utterance.path}')
    return duration


def _to_json(utterance: Utterance, folder: str) -> dict[str, object]:
    if utterance.parts:
        raise ManifestError(f"{utterance.id}: a joined utterance lies in no one file and cannot be written")
    full = _absolute(utterance.path)
    name = full.removeprefix(folder.rstrip(os.sep) + os.sep)
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


def _absolute(place: Location) -> str:
    """As text, links kept: resolving them would tie a manifest to the place where it was written."""
    return os.path.abspath(place) if isinstance(place, Path) else place  # noqa: PTH100
