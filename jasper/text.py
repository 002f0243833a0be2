"""Transcripts in, label indices out, and back; by way of a named normaliser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from jasper.config import SubwordConfig
from jasper.errors import ConfigError, TextError
from jasper.normalize import basic, english, figures
from jasper.subwords import ALGORITHMS


def lower(text: str) -> str:
    """Lower case, nothing else."""
    return text.lower().strip()


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "english": english,
    "basic": basic,
    "figures": figures,
    "lower": lower,
    "none": str.strip,
}


def get_normalizer(name: str) -> Callable[[str], str]:
    """Find a normaliser by the name that configurations use."""
    try:
        return NORMALIZERS[name]
    except KeyError:
        raise ConfigError(f"{name!r} is not a normalizer; known are {', '.join(NORMALIZERS)}") from None


class Tokenizer:
    """Spells text with a network's labels. The blank is the index after the last.

    A label is one character or, with `subwords`, several: then every word begins with a space, the first
    one too, as SentencePiece has it, and so does what `decode` returns.
    """

    def __init__(self, labels: Sequence[str], subwords: SubwordConfig | None = None) -> None:
        self.labels = _checked(labels, "labels", single=subwords is None)
        self._index = {label: index for index, label in enumerate(self.labels)}
        self._alphabet = set("".join(self.labels))
        self._segment = ALGORITHMS[subwords.algorithm] if subwords else None
        self._scores = dict(zip(self.labels, subwords.scores, strict=True)) if subwords else {}

    @property
    def blank(self) -> int:
        return len(self.labels)

    def unknown(self, text: str) -> set[str]:
        """The characters of a text that no label has."""
        return set(text) - self._alphabet

    def encode(self, text: str) -> list[int]:
        """Indices of the labels; raises TextError that names the characters which no label has."""
        unknown = self.unknown(text)
        if unknown:
            raise TextError(
                f"not among the labels: {', '.join(map(repr, sorted(unknown)))} in {text!r:.80}; "
                "choose a normalizer that removes them or add them to the labels"
            )
        if self._segment is None:
            return [self._index[char] for char in text]
        pieces = self._segment("".join(f" {word}" for word in text.split()), self._scores)
        if pieces is None:
            raise TextError(f"the labels cannot spell {text!r:.80}: a letter is in longer labels alone")
        return [self._index[piece] for piece in pieces]

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of label indices; raises TextError for the blank and for indices beyond it."""
        tokens = list(tokens)
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.blank:
            strange = sorted({token for token in tokens if not 0 <= token < self.blank})
            raise TextError(f"tokens {strange} are not indices of the {self.blank} labels")
        return "".join(self.labels[token] for token in tokens)

    def text(self, tokens: Iterable[int]) -> str:
        """What `decode` gives as words with one space between them, however many a network said."""
        return " ".join(self.decode(tokens).split())


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read a UTF-8 file of one label a line; the space is a line of one space or the word `<space>`."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    if lines[-1] == "":
        lines.pop()
    return _checked([" " if line == "<space>" else line for line in lines], str(path), single=True)


def labels_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The characters that occur in normalised texts, sorted, the space first where there is one."""
    alphabet: set[str] = set()
    for text in texts:
        alphabet.update(text)
    return tuple(sorted(alphabet, key=lambda char: (char != " ", char)))


def min_frames(tokens: Sequence[int]) -> int:
    """Encoder steps of the shortest CTC alignment: one a token, and a blank inside each immediate repeat."""
    return len(tokens) + sum(first == second for first, second in pairwise(tokens))


def _checked(labels: Sequence[str], source: str, *, single: bool) -> tuple[str, ...]:
    if not labels:
        raise ConfigError(f"{source}: there is no label")
    for number, label in enumerate(labels, start=1):
        if not label or (single and len(label) != 1):
            found = "empty" if not label else f"{label!r}"
            raise ConfigError(f"{source}: label {number} is {found}; a label is one character")
    repeated = sorted({label for label in labels if list(labels).count(label) > 1})
    if repeated:
        raise ConfigError(f"{source}: labels are given twice: {repeated}")
    return tuple(labels)
