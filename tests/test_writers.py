"""What is written is read back by other programs' parsers, and subtitles fit on a screen."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.subtitles import cues
from jasper.types import Segment, Transcript, Word
from jasper.writers import WRITERS, clock

MILLISECOND = 0.001


def transcript_of(*segments: list[Word], path: Path | None = Path("a/my call.flac")) -> Transcript:
    """A transcript of words, one list a segment."""
    made = tuple(
        Segment(
            " ".join(word.text for word in words), words[0].start - 0.1, words[-1].end + 0.1, -1.0, (*words,)
        )
        for words in segments
    )
    words = tuple(word for segment in made for word in segment.words)
    return Transcript(" ".join(segment.text for segment in made), 9999.0, -2.0, path, words, made)


def said(text: str, start: float, seconds: float = 0.3, gap: float = 0.1) -> list[Word]:
    """The words of a text, one after the other."""
    return [
        Word(word, start + index * (seconds + gap), start + index * (seconds + gap) + seconds, 0.5)
        for index, word in enumerate(text.split())
    ]


SENTENCE = "the quick brown fox jumps over the lazy dog and then goes home to sleep until the sun is up again"
TWO = transcript_of(said("hello world and you", 1.0), said(SENTENCE, 3600.0))


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_are_read_back_with_their_times(name):
    parsed = pysubs2.SSAFile.from_string(WRITERS[name](TWO), format_=name)
    expected = cues(TWO)
    assert len(parsed) == len(expected) == 3
    for event, cue in zip(parsed, expected, strict=True):
        assert event.start == pytest.approx(cue.start * 1000, abs=1)
        assert event.end == pytest.approx(cue.end * 1000, abs=1)
        assert event.plaintext.split("\n") == list(cue.lines)
    assert " ".join(event.plaintext.replace("\n", " ") for event in parsed[1:]) == SENTENCE


def test_vtt_escapes_what_would_be_markup():
    assert "a &lt;b&gt; &amp; c\n" in WRITERS["vtt"](transcript_of(said("a <b> & c", 0.0)))


def test_json_has_every_word_with_its_time_and_confidence():
    raw = json.loads(WRITERS["json"](TWO))
    assert (raw["text"], raw["duration"], raw["path"]) == (TWO.text, TWO.duration, "a/my call.flac")
    words = [Word(**word) for segment in raw["segments"] for word in segment["words"]]
    assert tuple(words) == TWO.words
    assert [segment["start"] for segment in raw["segments"]] == [0.9, 3599.9]


def test_ctm_is_a_line_a_word():
    lines = [line.split() for line in WRITERS["ctm"](TWO).splitlines()]
    assert lines[0] == ["my_call", "1", "1.000", "0.300", "hello", "0.5000"]
    assert [fields[4] for fields in lines] == TWO.text.split()
    assert WRITERS["ctm"](transcript_of(said("one", 0), path=None)).startswith("audio 1 ")


def test_tsv_is_a_table_in_milliseconds():
    rows = list(csv.DictReader(io.StringIO(WRITERS["tsv"](TWO)), delimiter="\t"))
    assert [int(row["start"]) for row in rows] == [900, 3599900]
    assert rows[1]["text"] == SENTENCE


def test_txt_is_a_line_a_segment():
    assert WRITERS["txt"](TWO).splitlines() == [segment.text for segment in TWO.segments]


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_transcript_can_be_written(name):
    text = WRITERS[name](Transcript("", 0.0, 0.0))
    expected = {"vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n"}
    if name == "json":
        assert json.loads(text)["segments"] == []
    else:
        assert text == expected.get(name, "")


def test_a_subtitle_ends_at_a_pause():
    first, second = said("before the pause", 0.0), said("after the pause", 2.0)
    found = cues(transcript_of([*first, *second]))
    assert [(cue.start, cue.lines) for cue in found] == [
        (0.0, ("before the pause",)),
        (2.0, ("after the pause",)),
    ]


def test_what_is_too_long_is_cut_at_its_longest_pause():
    first, second = said(SENTENCE, 0.0, 0.2, 0.05), said(SENTENCE, 5.3, 0.2, 0.05)
    found = cues(transcript_of([*first, *second]))
    assert any(cue.start == 5.3 for cue in found)


def test_a_short_word_stays_long_enough_to_be_read():
    found = cues(transcript_of(said("yes", 1.0), said("no", 5.0), said("oh", 5.6)))
    assert [round(cue.end - cue.start, 3) for cue in found] == [0.833, 0.6, 0.833]


def test_a_language_without_spaces_is_cut_too():
    word = Word("字" * 200, 0.0, 10.0, 1.0)
    found = cues(transcript_of([word]))
    assert "".join("".join(cue.lines) for cue in found) == word.text
    assert all(len(line) <= 42 for cue in found for line in cue.lines)
    assert found[-1].end == pytest.approx(10.0)


def test_words_without_times_share_their_segment():
    bare = Transcript(SENTENCE, 10.0, 0.0, segments=(Segment(SENTENCE, 2.0, 8.0, 0.0),))
    found = cues(bare)
    assert (found[0].start, found[-1].end) == (2.0, pytest.approx(8.0))
    assert " ".join(" ".join(cue.lines) for cue in found) == SENTENCE


@st.composite
def many_words(draw):
    start, words = 0.0, []
    for length, seconds, gap in draw(
        st.lists(
            st.tuples(st.integers(1, 60), st.floats(0.04, 2.0), st.floats(0, 1.0)), min_size=1, max_size=60
        )
    ):
        words.append(Word("x" * length, start, start + seconds, 1.0))
        start += seconds + gap
    return words


@given(many_words())
@settings(deadline=None)
def test_no_subtitle_is_too_wide_too_high_too_long_or_beside_another(words):
    found = cues(transcript_of(words))
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(w.text for w in words)
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(1 <= len(line) <= 42 for line in cue.lines)
        assert 0 < cue.end - cue.start <= 7 + MILLISECOND
    for before, after in pairwise(found):
        assert before.end <= after.start + 1e-9


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "00:00:00,000"), (3661.0015, "01:01:01,002"), (59.9999, "00:01:00,000")]
)
def test_a_clock_carries_over(seconds, text):
    assert clock(seconds, ",") == text
