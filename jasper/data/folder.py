"""A folder of recordings in, with a text file beside each or one table for all; utterances out."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jasper.audio import audio_info
from jasper.data.manifest import UniqueIds
from jasper.errors import AudioError, ManifestError
from jasper.progress import track
from jasper.types import Utterance

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf"})
TEXT_SUFFIXES = (".txt", ".lab")
AUDIO_COLUMNS = ("audio_filepath", "path", "file", "filename", "file_name", "audio", "wav")
TEXT_COLUMNS = ("text", "sentence", "transcript", "transcription")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")  # the last is Common Voice's
SHOWN_FAULTS = 5


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recording that was found, or what keeps it from being used."""

    path: Path
    text: str = ""
    speaker: str | None = None
    fault: str = ""


def manifest_from_folder(
    directory: str | Path,
    *,
    table: str | Path | None = None,
    audio_column: str | None = None,
    text_column: str | None = None,
    speaker_from_folder: bool = False,
    report: Callable[[str], None] | None = None,
) -> list[Utterance]:
    """Pair the recordings below `directory` with their texts, sorted by path or in the table's order.

    Without a table, the text of `a.flac` is `a.txt` or `a.lab` beside it. A table is CSV, TSV or separated
    by `|` or `;`; its columns are found by name (Common Voice's among them) or given, and without a header
    the first is the recording and the last is the text (LJSpeech). A recording may be named by its path,
    its file name or its stem. `speaker_from_folder` takes the name of the folder that holds the recording.

    A recording without a text, a row without a recording and a file that cannot be read are faults. Each
    goes to `report`, and the rest is returned; without `report` they are counted in one ManifestError.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ManifestError(f"{directory}: no such folder")
    audio = sorted(path for path in directory.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not audio:
        raise ManifestError(f"{directory}: no recordings; looked for {', '.join(sorted(AUDIO_SUFFIXES))}")
    if table is None:
        found: Iterable[_Recording] = [_with_text_beside(path) for path in audio]
    else:
        path = _table_path(directory, table)
        found = _match_rows(_read_table(path, audio_column, text_column), path, directory, audio)
    ids = UniqueIds()
    utterances, faults = [], []
    for recording in track(list(found), "Reading headers"):
        entry = _measure(recording, directory, ids, speaker_from_folder)
        if isinstance(entry, Utterance):
            utterances.append(entry)
        else:
            faults.append(entry)
    _report(directory, faults, report)
    return utterances


def _with_text_beside(path: Path) -> _Recording:
    beside = [path.with_suffix(suffix) for suffix in TEXT_SUFFIXES]
    source = next((candidate for candidate in beside if candidate.is_file()), None)
    if source is None:
        return _Recording(path, fault=f"no {path.stem}.txt or {path.stem}.lab beside it")
    try:
        text = " ".join(source.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        return _Recording(path, fault=f"{source.name} cannot be read ({error})")
    return _Recording(path, text, fault="" if text else f"{source.name} is empty")


@dataclass(frozen=True, slots=True)
class _Row:
    number: int  # in the table, from 1
    audio: str
    text: str
    speaker: str | None


def _table_path(directory: Path, table: str | Path) -> Path:
    for path in (Path(table), directory / table):
        if path.is_file():
            return path
    raise ManifestError(f"{table}: no such table, neither here nor in {directory}")


def _read_table(path: Path, audio_column: str | None, text_column: str | None) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            names = [cell.strip() for cell in next(_reader([first], first), [])]
            columns = _columns(path, names, audio_column, text_column)
            file.seek(0)
            for number, cells in enumerate(_reader(file, first), start=1):
                is_header = columns.header and number == 1
                if not is_header and any(cell.strip() for cell in cells):
                    yield _row(number, cells, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class _Columns:
    audio: int
    text: int
    speaker: int | None
    header: bool


def _columns(path: Path, names: list[str], audio: str | None, text: str | None) -> _Columns:
    """Where the columns are; names that are not given are looked for among the usual ones."""
    lowered = [name.lower() for name in names]
    audio_at = _position(path, lowered, audio, AUDIO_COLUMNS)
    text_at = _position(path, lowered, text, TEXT_COLUMNS)
    if audio_at is None and text_at is None and len(names) > 1:
        return _Columns(0, len(names) - 1, None, header=False)
    if audio_at is None or text_at is None:
        lacking = "recordings" if audio_at is None else "texts"
        raise ManifestError(
            f"{path}: no column of {lacking} among {', '.join(names) or 'none'}; name it with "
            f"audio_column or text_column"
        )
    return _Columns(audio_at, text_at, _position(path, lowered, None, SPEAKER_COLUMNS), header=True)


def _position(path: Path, names: list[str], given: str | None, usual: tuple[str, ...]) -> int | None:
    if given is None:
        return next((names.index(name) for name in usual if name in names), None)
    if given.lower() not in names:
        raise ManifestError(f"{path}: no column {given!r}; columns are {', '.join(names)}")
    return names.index(given.lower())


def _reader(lines: Iterable[str], first: str) -> Iterator[list[str]]:
    """Split rows by the separator of the first line. Only commas and semicolons come with quoting."""
    separator = next((mark for mark in "\t|;" if mark in first), ",")
    if separator in "\t|":
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=separator)


def _row(number: int, cells: list[str], columns: _Columns) -> _Row:
    def cell(index: int | None) -> str:
        return cells[index].strip() if index is not None and index < len(cells) else ""

    return _Row(
        number, cell(columns.audio), " ".join(cell(columns.text).split()), cell(columns.speaker) or None
    )


def _match_rows(
    rows: Iterable[_Row], table: Path, directory: Path, audio: list[Path]
) -> Iterator[_Recording]:
    """Find each row's recording by its path from the table, its path below the folder, its name or stem."""
    index: dict[str, set[Path]] = {}
    for path in audio:
        below = path.relative_to(directory)
        for key in {below.as_posix(), below.with_suffix("").as_posix(), path.name, path.stem}:
            index.setdefault(key, set()).add(path)
    for row in rows:
        named = table.parent / row.audio
        found = {named} if row.audio and named.is_file() else index.get(row.audio, set())
        path = min(found, default=table)
        fault = ""
        if len(found) != 1:
            fault = f"row {row.number}: {len(found) or 'no'} recordings are called {row.audio!r}"
        elif not row.text:
            fault = f"row {row.number} of {table.name} has no text"
        yield _Recording(path, row.text, row.speaker, fault)


def _measure(recording: _Recording, directory: Path, ids: UniqueIds, from_folder: bool) -> Utterance | str:
    """The recording as an utterance, or what is wrong with it."""
    path = recording.path
    if recording.fault:
        return f"{path}: {recording.fault}"
    try:
        duration = audio_info(path).duration
    except AudioError as error:
        return str(error)
    name = path.relative_to(directory) if path.is_relative_to(directory) else Path(path.name)
    return Utterance(
        id=ids.claim("-".join(name.with_suffix("").parts)),
        path=path,
        text=recording.text,
        duration=duration,
        speaker=path.parent.name if from_folder else recording.speaker,
    )


def _report(directory: Path, faults: list[str], report: Callable[[str], None] | None) -> None:
    if report is not None:
        for fault in faults:
            report(fault)
    elif faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise ManifestError(
            f"{directory}: {len(faults)} recordings cannot be used: {'; '.join(faults[:SHOWN_FAULTS])}{more}"
        )
