"""A transcript in, subtitles out: what stands on the screen, and from when to when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jasper.types import Segment, Transcript

LINE_LENGTH = (
    42  # characters, and two lines at most: what broadcasters' and streaming services' guides agree on
)
LONGEST_S = 7.0
SHORTEST_S = 5 / 6
PAUSE_S = 0.5  # between two words, that ends a subtitle


class Cue(NamedTuple):
    """One subtitle of one or two lines, from `start` to `end` (s)."""

    start: float
    end: float
    lines: tuple[str, ...]


class _Piece(NamedTuple):
    text: str
    start: float
    end: float
    glued: bool = False  # goes on with the word before it


def cues(transcript: Transcript) -> list[Cue]:
    """Cut a transcript into subtitles, in order, no two at a time.

    They end where segments and pauses do, else at the longest pause near the middle of what is too long for
    two lines or for 7 s. One that is shorter than 5/6 s stays longer, as far as the next one lets it. Words
    without times share the time of their segment.
    """
    found = [
        Cue(group[0].start, group[-1].end, _lines(group))
        for segment in transcript.segments
        for run in _between_pauses(list(_pieces(segment)))
        for group in _fitting(run)
    ]
    following = [cue.start for cue in found[1:]] + [math.inf]
    return [
        cue._replace(end=min(max(cue.end, cue.start + SHORTEST_S), until))
        for cue, until in zip(found, following, strict=False)  # without a cue there is one too many
    ]


def _pieces(segment: Segment) -> Iterator[_Piece]:
    """The words of a segment; one that no line holds, in a language without spaces say, is cut."""
    for text, start, end in _timed(segment):
        count = -(-len(text) // LINE_LENGTH)
        step = (end - start) / count
        for index in range(count):
            part = text[index * LINE_LENGTH : (index + 1) * LINE_LENGTH]
            yield _Piece(part, start + index * step, start + (index + 1) * step, glued=index > 0)


def _timed(segment: Segment) -> Iterator[tuple[str, float, float]]:
    if segment.words or not segment.text:
        yield from ((word.text, word.start, word.end) for word in segment.words if word.text)
        return
    seconds = (segment.end - segment.start) / len(segment.text)
    place = 0
    for text in segment.text.split():
        place = segment.text.index(text, place)
        yield text, segment.start + place * seconds, segment.start + (place + len(text)) * seconds
        place += len(text)


def _between_pauses(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    first = 0
    for index in range(1, len(pieces) + 1):
        if index == len(pieces) or pieces[index].start - pieces[index - 1].end >= PAUSE_S:
            yield pieces[first:index]
            first = index


def _fitting(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    """Halve words again and again, at the longest pause of their middle half, until each group fits."""
    fits = len(_lines(pieces)) <= 2 and pieces[-1].end - pieces[0].start <= LONGEST_S
    if fits or len(pieces) == 1:
        yield pieces
        return
    low = max(1, len(pieces) // 4)
    places = range(low, max(low + 1, len(pieces) - len(pieces) // 4))
    middle = len(pieces) / 2
    place = max(places, key=lambda i: (round(pieces[i].start - pieces[i - 1].end, 3), -abs(i - middle)))
    yield from _fitting(pieces[:place])
    yield from _fitting(pieces[place:])


def _lines(pieces: Sequence[_Piece]) -> tuple[str, ...]:
    """One line where it is short enough, else two of like length, else more, none too long."""
    whole = _text(pieces)
    if len(whole) <= LINE_LENGTH:
        return (whole,)
    pairs = [(_text(pieces[:place]), _text(pieces[place:])) for place in range(1, len(pieces))]
    first, second = min(pairs, key=lambda pair: max(map(len, pair)), default=(whole, ""))
    if max(len(first), len(second)) <= LINE_LENGTH:
        return first, second
    return tuple(piece.text for piece in pieces)


def _text(pieces: Sequence[_Piece]) -> str:
    """Pieces as one line, the first of them from its beginning."""
    return "".join(("" if piece.glued else " ") + piece.text for piece in pieces).strip()
