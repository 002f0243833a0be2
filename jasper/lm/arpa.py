"""ARPA files, plain or gzipped, in and out. Their logarithms have base 10, a model's are natural."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from jasper.errors import LanguageModelError
from jasper.lm.ngram import BEGIN, END, SPECIAL_WORDS, UNKNOWN, Level, NGram, from_levels
from jasper.storage import atomic_file

LN_10 = math.log(10)
# Of <unk> where a file has none: KenLM's choice, a word that hardly ever comes.
MISSING_UNKNOWN = -100 * LN_10
NO_LOG_PROB = -99.0  # what ARPA files write for <s>, which nothing predicts


def read_arpa(path: str | Path) -> NGram:
    """Read a model of any order.

    Raises LanguageModelError, with the line, for a file that is truncated, whose counts are wrong or whose
    n-grams do not belong together.
    """
    try:
        with _open_text(Path(path)) as file:
            return _Reader(file).read()
    except LanguageModelError as error:
        raise LanguageModelError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LanguageModelError(f"{path}: cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise LanguageModelError(f"{path}: not UTF-8 text") from None


def write_arpa(path: str | Path, model: NGram) -> None:
    """Write a model, gzipped where the name ends in .gz."""
    with atomic_file(Path(path)) as temporary:
        opener: Callable[..., TextIO] = gzip.open if Path(path).suffix == ".gz" else open
        with opener(temporary, "wt", encoding="utf-8") as file:
            file.write("\\data\\\n")
            for order, count in enumerate(model.num_ngrams, start=1):
                file.write(f"ngram {order}={count}\n")
            for order in range(1, model.order + 1):
                file.write(f"\n\\{order}-grams:\n")
                file.writelines(_lines(model, order))
            file.write("\n\\end\\\n")


def _lines(model: NGram, order: int) -> Iterator[str]:
    table = model.table
    begin = 1 + sum(model.num_ngrams[: order - 1])
    nodes = np.arange(begin, begin + model.num_ngrams[order - 1])
    parents = np.searchsorted(table.first, np.arange(len(table.word)), side="right") - 1
    columns = []
    ancestors = nodes
    for _ in range(order):
        columns.append(table.word[ancestors])
        ancestors = parents[ancestors]
    rows = np.stack(columns[::-1], axis=1).tolist()
    log_probs = (table.log_prob[nodes] / LN_10).tolist()
    backoffs = (table.backoff[nodes] / LN_10).tolist() if order < model.order else [0.0] * len(rows)
    for row, log_prob, backoff in zip(rows, log_probs, backoffs, strict=True):
        tail = f"\t{backoff:.7g}" if backoff else ""
        yield f"{log_prob:.7g}\t{' '.join(model.words[word] for word in row)}{tail}\n"


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


class _Reader:
    """One pass over the lines of a file."""

    def __init__(self, file: TextIO) -> None:
        self.lines = self._numbered(file)
        self.number = 0
        self.words = list(SPECIAL_WORDS)
        self.ids = {word: index for index, word in enumerate(SPECIAL_WORDS)}

    def _numbered(self, file: TextIO) -> Iterator[str]:
        for self.number, line in enumerate(file, start=1):
            yield line.strip()

    def read(self) -> NGram:
        counts = self._counts()
        levels = []
        for order, count in enumerate(counts, start=1):
            self._expect(f"\\{order}-grams:")
            levels.append(self._level(order, count, highest=order == len(counts)))
        self._expect("\\end\\")
        return from_levels(self.words, levels)

    def _next(self) -> str:
        try:
            return next(line for line in self.lines if line)
        except StopIteration:
            raise LanguageModelError(f"the file ends after line {self.number}: it is truncated") from None

    def _expect(self, heading: str) -> None:
        line = self._next()
        if line != heading:
            raise LanguageModelError(f"line {self.number}: {heading} is expected, found {line!r:.60}")

    def _counts(self) -> list[int]:
        line = next((line for line in self.lines if line == "\\data\\"), None)
        if line is None:
            raise LanguageModelError("there is no \\data\\ section: this is no ARPA file")
        counts: list[int] = []
        for line in self.lines:
            if not line:
                break
            found = re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)", line)
            if not found or int(found[1]) != len(counts) + 1:
                expected = f"ngram {len(counts) + 1}=COUNT"
                raise LanguageModelError(f"line {self.number}: {expected} is expected, found {line!r:.60}")
            counts.append(int(found[2]))
        if not counts:
            raise LanguageModelError(f"line {self.number}: the \\data\\ section has no counts")
        return counts

    def _level(self, order: int, count: int, highest: bool) -> Level:
        ids: list[int] = []
        numbers: list[float] = []
        for line in self.lines:
            if not line:
                break
            if line.startswith("\\") and line.endswith((":", "\\")) and len(line.split()) == 1:
                raise LanguageModelError(f"line {self.number}: {line} is not after an empty line")
            ids.extend(self._row(line.split(), order, numbers))
        found = len(numbers) // 2
        if found != count:
            raise LanguageModelError(
                f"line {self.number}: {count} {order}-grams are announced, {found} are there: truncated?"
            )
        words = np.array(ids, np.int32).reshape(-1, order)
        values = np.array(numbers, np.float64).reshape(-1, 2) * LN_10
        if not np.isfinite(values).all() or (values[:, 0] > 1e-4).any():
            raise LanguageModelError(f"one of the {order}-grams has a log-probability that is none")
        level = Level(words, values[:, 0].astype(np.float32), values[:, 1].astype(np.float32))
        return self._with_special_words(level) if order == 1 else level

    def _row(self, fields: Sequence[str], order: int, numbers: list[float]) -> list[int]:
        """Ids of a line's words; its two logarithms go to `numbers`."""
        words = fields[1 : order + 1]
        if len(words) < order or len(fields) > order + 2:
            raise LanguageModelError(f"line {self.number}: not an {order}-gram: {' '.join(fields)!r:.60}")
        try:
            numbers += float(fields[0]), float(fields[order + 1]) if len(fields) > order + 1 else 0.0
        except ValueError:
            raise LanguageModelError(f"line {self.number}: not numbers: {' '.join(fields)!r:.60}") from None
        if order == 1:
            return [self._add(words[0])]
        try:
            return [self.ids[word] for word in words]
        except KeyError as error:
            raise LanguageModelError(f"line {self.number}: the word {error} has no unigram") from None

    def _add(self, word: str) -> int:
        word = "<unk>" if word == "<UNK>" else word  # SRILM's files and others'
        if word not in self.ids:
            self.ids[word] = len(self.words)
            self.words.append(word)
        return self.ids[word]

    def _with_special_words(self, level: Level) -> Level:
        present = set(level.words[:, 0].tolist())
        if BEGIN not in present or END not in present:
            raise LanguageModelError("there is no unigram <s> or </s>: sentences have no beginning and end")
        if UNKNOWN in present:
            return level
        return Level(
            np.append(level.words, [[UNKNOWN]], axis=0).astype(np.int32),
            np.append(level.log_probs, np.float32(MISSING_UNKNOWN)).astype(np.float32),
            np.append(level.backoffs, np.float32(0)).astype(np.float32),
        )
