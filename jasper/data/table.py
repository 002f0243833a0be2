"""Lines of manifests in, the utterances out as columns, in a tenth of the memory that objects take.

300,000 `Utterance` objects take half a gigabyte and seconds to make, and every forked worker that looks at
one copies its page. Columns are never copied, and make an `Utterance` when one is asked for.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from jasper.data.entry import Entry
from jasper.storage import within
from jasper.types import IntArray, Location, Utterance

T = TypeVar("T")


class UtteranceTable(Sequence[Utterance]):
    """Utterances that are made when they are asked for; slices and selections share the columns."""

    def __init__(self, columns: Columns, rows: IntArray | None = None) -> None:
        self._columns = columns
        self._rows = np.arange(len(columns), dtype=np.int64) if rows is None else rows

    def __len__(self) -> int:
        return self._rows.size

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> UtteranceTable: ...
    def __getitem__(self, index: int | slice) -> Utterance | UtteranceTable:
        if isinstance(index, slice):
            return UtteranceTable(self._columns, self._rows[index])
        return self._columns.utterance(int(self._rows[index]))

    def __iter__(self) -> Iterator[Utterance]:
        return map(self._columns.utterance, self._rows.tolist())

    def select(self, keep: NDArray[np.bool_] | IntArray) -> UtteranceTable:
        """Those that a mask (N,) or indices name, in the order of the indices."""
        return UtteranceTable(self._columns, self._rows[keep])

    @property
    def ids(self) -> Iterator[str]:
        """The ids, in order."""
        return map(self._columns.ids.get, self._rows.tolist())

    @property
    def texts(self) -> Iterator[str]:
        """The texts, in order."""
        return map(self._columns.texts.get, self._rows.tolist())

    @property
    def durations(self) -> NDArray[np.float64]:
        """Seconds (N,)."""
        return np.array(self._columns.durations)[self._rows]

    @property
    def tars(self) -> tuple[Location, ...]:
        """The tars that hold members."""
        return tuple(self._columns.tars.values)

    @property
    def tar(self) -> IntArray:
        """Which of `tars` each utterance lies in (N,); -1 for one that has a file of its own."""
        return np.array(self._columns.tar, dtype=np.int64)[self._rows]

    @property
    def member_ends(self) -> IntArray:
        """The byte of its tar where the member of each utterance ends (N,)."""
        ends = np.array(self._columns.member_starts) + np.array(self._columns.member_sizes)
        return np.asarray(ends[self._rows], dtype=np.int64)

    @property
    def feature_shards(self) -> tuple[Location, ...]:
        """The shards in which some of the utterances have features in place of sound."""
        stored = np.array(self._columns.has_features, dtype=np.bool_)[self._rows]
        return tuple(self.tars[number] for number in np.unique(self.tar[stored]).tolist())

    def spoken_by(self, speakers: Iterable[str]) -> NDArray[np.bool_]:
        """Mask (N,) of the utterances of these speakers."""
        names = set(speakers)
        wanted = [number for number, name in enumerate(self._columns.speakers.values) if name in names]
        return np.isin(np.array(self._columns.speaker)[self._rows], wanted)


def durations_of(utterances: Sequence[Utterance]) -> NDArray[np.float64]:
    """The durations (N,) in seconds; of a table without making its utterances."""
    if isinstance(utterances, UtteranceTable):
        return utterances.durations
    return np.array([utterance.duration for utterance in utterances], dtype=np.float64)


def ids_of(utterances: Sequence[Utterance]) -> Iterator[str]:
    """The ids, in order; of a table without making its utterances."""
    if isinstance(utterances, UtteranceTable):
        return utterances.ids
    return (utterance.id for utterance in utterances)


class Columns:
    """What an `UtteranceTable` is made of; rows are appended and never changed."""

    def __init__(self) -> None:
        self.ids, self.names, self.texts = _Strings(), _Strings(), _Strings()
        # Of what many rows share, a row has the number.
        self.folders, self.tars = _Shared[Location](), _Shared[Location]()
        self.speakers = _Shared[str | None]()
        self.folder, self.speaker, self.tar, self.lines = array("i"), array("i"), array("i"), array("i")
        self.durations, self.offsets = array("d"), array("d")  # s; NaN for an offset that is not stated
        self.member_starts, self.member_sizes = array("q"), array("q")  # bytes
        self.has_features = array("b")  # whether these bytes are features

    def __len__(self) -> int:
        return len(self.durations)

    def extend(self, entries: Sequence[Entry], folder: Location) -> None:
        """Add lines of a manifest that lies in `folder`; a thousand at a time are fast."""
        if not entries:
            return
        ids, names, texts, durations, offsets, speakers, lines, members, has_features = zip(
            *entries, strict=True
        )
        self.ids.extend(ids)
        self.names.extend(names)
        self.texts.extend(texts)
        self.durations.extend(durations)
        self.offsets.extend([math.nan if offset is None else offset for offset in offsets])
        self.lines.extend(lines)
        self.has_features.extend(has_features)
        self.folder.extend([self.folders.number(folder)] * len(entries))
        self.speaker.extend(map(self.speakers.number, speakers))
        for name, member in zip(names, members, strict=True):
            self.tar.append(-1 if member is None else self.tars.number(within(folder, name)))
            start, size = member or (0, 0)
            self.member_starts.append(start)
            self.member_sizes.append(size)

    def utterance(self, row: int) -> Utterance:
        """Make the utterance of a row."""
        offset = self.offsets[row]
        entry = Entry(
            self.ids.get(row),
            self.names.get(row),
            self.texts.get(row),
            self.durations[row],
            None if math.isnan(offset) else offset,
            self.speakers.values[self.speaker[row]],
            self.lines[row],
            None if self.tar[row] < 0 else (self.member_starts[row], self.member_sizes[row]),
            bool(self.has_features[row]),
        )
        return entry.utterance(self.folders.values[self.folder[row]])


class _Shared(Generic[T]):
    """Values that many rows share, numbered in the order in which they come."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        found = self._numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


class _Strings:
    """Strings end to end in UTF-8: one object in place of one each."""

    def __init__(self) -> None:
        self._blob = bytearray()
        self._ends = array("q", [0])

    def extend(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = accumulate(map(len, encoded), initial=len(self._blob))
        self._ends.extend(islice(ends, 1, None))
        self._blob += b"".join(encoded)

    def get(self, row: int) -> str:
        return self._blob[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")
