"""A MindRecord shard in, its rows as lines of a manifest out, and the features of a row; without MindSpore.

A shard is two files. `NAME` begins with the size of a JSON header (8 bytes) and the header, which says where
pages begin and how long they are. `NAME.db`, an SQLite database, has the page of each row and where in it the
row lies. A row is its size, then its fields in the order of their names, each with its size in front unless
it is the only one.

Two kinds are read. Of the model zoo's schema a row has labels and features (1, F, T), and in shards that were
written here its line of a manifest too. The other kind, written here, has that line and an audio file.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

from jasper.errors import AudioError, ManifestError
from jasper.storage import read_range
from jasper.text import Tokenizer
from jasper.types import FloatArray, Location, Utterance

LABELS, FEATURES = "batch_script", "batch_spect"  # the model zoo's names
AUDIO, LINE = "audio", "utterance"  # ours: the bytes of a file, and a line of a manifest without its path

HOP_S = 0.01  # between two frames of the model zoo's, which has no other and writes none down
_SIZE = 8  # bytes of a size
_SPACE = 1 << 24  # bytes; what MindSpore leaves for a header
_PATTERN = re.compile(r"[*?\[]")

Row = tuple[int, int, int, str | None]  # page, first byte in it, the byte after the last, line of a manifest


@dataclass(frozen=True, slots=True)
class Shard:
    """What the header of a shard says; `settings` are those of the front end that made its features."""

    path: Path
    num_bytes: int
    pages_start: int
    page_size: int
    has_lines: bool
    num_mels: int | None  # of the features; None where rows have audio files
    settings: dict[str, Any] | None  # None where the header has none: the model zoo's


def places_at(place: Location) -> list[Location]:
    """The shards of a folder, or the files that a pattern (`jasper_tr*.md`) names; else the place alone.

    They are in the order of the numbers in their names. ManifestError where there is none.
    """
    if not isinstance(place, Path):
        return [place]
    if place.is_dir():
        found = [path for path in place.iterdir() if is_mindrecord(path)]
    elif _PATTERN.search(place.name) and not place.exists():
        found = [path for path in place.parent.glob(place.name) if path.suffix != ".db"]
    else:
        return [place]
    if not found:
        what = "a folder without MindRecord shards; name a manifest" if place.is_dir() else "names no file"
        raise ManifestError(f"{place}: {what}")
    return [*sorted(found, key=lambda path: ([*map(int, re.findall(r"\d+", path.name))], path.name))]


def is_mindrecord(place: Location) -> bool:
    """Whether a local file begins as a shard does, whatever its name: the model zoo's end with .md."""
    if not isinstance(place, Path) or not place.is_file():
        return False
    try:
        start = read_range(place, 0, _SIZE + 2)
    except OSError:  # which whoever reads the file meets again
        return False
    return start[_SIZE:] == b'{"' and int.from_bytes(start[:_SIZE], "little") < _SPACE


def index_of(path: Path) -> Path:
    """The database of a shard."""
    return path.with_name(f"{path.name}.db")


def read_shard(path: Path) -> Shard:
    """Read the header; ManifestError where it is damaged, or its schema none of those that are read."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_SIZE), "little")
            header = json.loads(file.read(min(size, _SPACE)))
        described = header["schema"][0]
        fields, schema = described["blob_fields"], dict(described["schema"])
        num_mels = _num_mels(schema) if fields == [LABELS, FEATURES] else None
        places = int(header["header_size"]), int(header["page_size"])
        settings = _settings(described["desc"])
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (LookupError, TypeError, ValueError) as error:
        raise ManifestError(f"{path}: the header of this MindRecord shard is damaged ({error})") from None
    if num_mels is None and (fields != [AUDIO] or LINE not in schema):
        raise ManifestError(
            f"{path}: its rows have {', '.join(schema)}; read are {FEATURES} float32 [1, F, -1] with "
            f"{LABELS} int32 [-1], as the model zoo's Jasper has them, and {AUDIO} bytes with {LINE}"
        )
    return Shard(path, path.stat().st_size, *places, LINE in schema, num_mels, settings)


def num_rows(path: Path) -> int:
    """How many rows a shard has; ManifestError where it cannot be read."""
    return sum(1 for _ in _rows(read_shard(path)))


def scan_shard(path: Path, tokenizer: Tokenizer) -> Iterator[tuple[int, dict[str, Any] | ManifestError]]:
    """Yield the number of each row, from 1, and its line of a manifest, or what is wrong with it.

    The tokenizer spells what has labels alone. Of a row that is cut off the place is given, and a text only
    where it has a line. ManifestError where the shard or its database cannot be read.
    """
    shard = read_shard(path)
    with path.open("rb", buffering=0) as file:
        for number, row in enumerate(_rows(shard), start=1):
            try:
                yield number, _line(shard, file, number, row, tokenizer)
            except (OSError, TypeError, ValueError) as error:
                yield number, ManifestError(f"{path}: row {number}: {error}")


def need_sound(utterance: Utterance) -> None:
    """Raise AudioError for an utterance that has features in place of sound."""
    if utterance.has_features:
        raise AudioError(f"{utterance.path}: has features of {utterance.id}, and no sound")


def read_features(utterance: Utterance, num_mels: int) -> FloatArray:
    """The features (F, T) of a row; AudioError where they are cut off, damaged or without a sound.

    The model zoo fills utterances up with frames of zeros to multiples of 16; those are left out.
    """
    assert utterance.member is not None
    where, size = f"{utterance.path}, byte {utterance.member[0]}", utterance.member[1]
    try:
        data = read_range(utterance.path, *utterance.member)
    except OSError as error:
        raise AudioError(f"{where}: {error.strerror or error}") from None
    if len(data) < size or size % (4 * num_mels):
        raise AudioError(f"{where}: {len(data)} of {size} bytes are there, for frames of {num_mels} float32")
    features = np.frombuffer(data, dtype="<f4").reshape(num_mels, -1)
    if not np.isfinite(features).all():
        raise AudioError(f"{where}: has features that are not finite")
    sounding = np.flatnonzero(features.any(axis=0))
    if not sounding.size:
        raise AudioError(f"{where}: all features are zero")
    return features[:, : sounding[-1] + 1]


def unpacked(data: bytes) -> list[int]:
    """The numbers of an integer field; ValueError where it has not just their bytes.

    There is how many they are, two bits for the size of each, then each in one, two, four or eight bytes.
    """
    count = int.from_bytes(data[:4], "big")
    place = 4 + -(-count // 4)
    if len(data) < place:
        raise ValueError(f"{count} labels cannot be in {len(data)} bytes")
    numbers = []
    for index in range(count):
        size = 1 << (data[4 + index // 4] >> (6 - 2 * (index % 4)) & 3)
        numbers.append(int.from_bytes(data[place : place + size], "little", signed=True))
        place += size
    if place != len(data):
        raise ValueError(f"{count} labels take {place} bytes, not {len(data)}")
    return numbers


def _rows(shard: Shard) -> Iterator[Row]:
    """The rows in the order in which they were written; ManifestError where the database cannot be read."""
    index = index_of(shard.path)
    if not index.is_file():
        raise ManifestError(f"{index}: no such file; a MindRecord shard is two files, copy this one too")
    line = f"{LINE}_0" if shard.has_lines else "NULL"
    try:
        # Immutable: SQLite then makes no files beside it, and reads from a disk that cannot be written.
        with closing(sqlite3.connect(f"file:{quote(str(index))}?mode=ro&immutable=1", uri=True)) as database:
            columns = f"PAGE_ID_BLOB, PAGE_OFFSET_BLOB, PAGE_OFFSET_BLOB_END, {line}"
            yield from database.execute(f"SELECT {columns} FROM INDEXES ORDER BY ROW_ID")
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite quotes a damaged name
        raise ManifestError(f"{index}: damaged, or the index of no MindRecord shard: {error}") from None


def _line(shard: Shard, file: BinaryIO, number: int, row: Row, tokenizer: Tokenizer) -> dict[str, Any]:
    """The line of a manifest for a row; TypeError or ValueError where it cannot be made out."""
    page, start, end, line = row
    place, size = shard.pages_start + page * shard.page_size + start + _SIZE, end - start - _SIZE
    labels = b""
    if shard.num_mels is not None and place + size <= shard.num_bytes:
        file.seek(place)
        num_bytes = int.from_bytes(file.read(_SIZE), "big")
        before = num_bytes + 2 * _SIZE
        if before > size:
            raise ValueError(f"labels of {num_bytes} bytes cannot be in a row of {size}")
        labels = b"" if shard.has_lines else file.read(num_bytes)
        place, size = place + before, size - before
    if line is not None:
        raw = json.loads(line)
    else:
        text = tokenizer.decode(unpacked(labels)) if labels else ""
        duration = size // (4 * (shard.num_mels or 1)) * HOP_S
        raw = {"id": f"{shard.path.stem}-{number:06d}", "text": text, "duration": duration}
    return {**raw, "audio_filepath": shard.path.name, "member_offset": place, "member_size": size}


def _num_mels(schema: dict[str, Any]) -> int | None:
    """F of features (1, F, T); None where it is another schema."""
    features, labels = schema[FEATURES], schema[LABELS]
    shape = features.get("shape", [])
    fits = len(shape) == 3 and shape[0] == 1 and shape[1] > 0
    if features["type"] != "float32" or not fits or labels != {"type": "int32", "shape": [-1]}:
        return None
    return int(shape[1])


def _settings(description: str) -> dict[str, Any] | None:
    """What the writer noted in the schema's description; None for another one's."""
    try:
        return dict(json.loads(description)["features"])
    except (ValueError, KeyError, TypeError):
        return None
