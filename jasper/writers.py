"""A transcript in, the text of a file out: plain, subtitles, tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from html import escape
from typing import Any

from jasper.storage import stem
from jasper.subtitles import cues
from jasper.types import Transcript, Word


def txt(transcript: Transcript) -> str:
    """One line a segment."""
    return _lines(segment.text for segment in transcript.segments if segment.text)


def srt(transcript: Transcript) -> str:
    """SubRip: numbered subtitles."""
    blocks = (
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n" + _lines(cue.lines)
        for number, cue in enumerate(cues(transcript), 1)
    )
    return "\n".join(blocks)


def vtt(transcript: Transcript) -> str:
    """WebVTT, for players in a browser."""
    blocks = (
        f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n"
        + _lines(escape(line, quote=False) for line in cue.lines)
        for cue in cues(transcript)
    )
    return "\n".join(["WEBVTT\n", *blocks])


def tsv(transcript: Transcript) -> str:
    """A table of the segments with a header; start and end in milliseconds, tabs between the columns."""
    rows = (
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{' '.join(segment.text.split())}"
        for segment in transcript.segments
        if segment.text
    )
    return _lines(["start\tend\ttext", *rows])


def to_json(transcript: Transcript) -> str:
    """An object with `text`, `duration`, `score`, `path` and the `segments`, each with its `words`."""
    return json.dumps(transcript_dict(transcript), ensure_ascii=False, indent=1) + "\n"


def ctm(transcript: Transcript) -> str:
    """NIST's time-marked words of a recording."""
    return time_marks(transcript.words, stem(transcript.path) if transcript.path else "audio")


def time_marks(words: Iterable[Word], recording: str) -> str:
    """NIST's ctm: recording, channel, start and duration in seconds, word, confidence."""
    name = "_".join(recording.split())
    return _lines(
        f"{name} 1 {word.start:.3f} {word.end - word.start:.3f} {word.text} {word.confidence:.4f}"
        for word in words
    )


WRITERS: dict[str, Callable[[Transcript], str]] = {
    "txt": txt,
    "srt": srt,
    "vtt": vtt,
    "tsv": tsv,
    "json": to_json,
    "ctm": ctm,
}
TIMED = frozenset({"srt", "vtt", "json", "ctm"})  # these want the words' times


def transcript_dict(transcript: Transcript) -> dict[str, Any]:
    """A transcript as JSON has it; times in seconds."""
    raw = asdict(transcript)
    del raw["words"]  # they are in their segments
    return {**raw, "path": None if transcript.path is None else str(transcript.path)}


def clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds as subtitles have them, 01:02:03,456."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
