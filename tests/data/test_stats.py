"""Counts of a small corpus, done by hand."""

from pathlib import Path

import pytest

from jasper.data.stats import manifest_stats
from jasper.types import Utterance


def test_a_small_corpus_is_counted():
    stats = manifest_stats(
        [
            Utterance("a", Path("a.wav"), "to be or", 1.0, speaker="x"),
            Utterance("b", Path("b.wav"), "not to be", 3.0, speaker="y"),
            Utterance("c", Path("c.wav"), "", 40.0, speaker="y"),
            Utterance("d", Path("d.wav"), "B", 0.5),
        ]
    )
    assert stats.num_utterances == 4
    assert stats.hours == pytest.approx(44.5 / 3600)
    assert (stats.min_duration, stats.max_duration) == (0.5, 40.0)
    assert (stats.median_duration, stats.mean_duration) == (2.0, 44.5 / 4)
    assert (stats.num_words, stats.num_distinct_words) == (7, 5)
    assert list(stats.alphabet.items())[:3] == [(" ", 4), ("o", 4), ("t", 3)]
    assert stats.alphabet["B"] == 1
    assert list(stats.speakers) == ["y", "x"]
    assert stats.speakers["y"] == pytest.approx(43 / 3600)
    assert sum(bar.num_utterances for bar in stats.histogram) == 4
    counts = {bar.start: bar.num_utterances for bar in stats.histogram if bar.num_utterances}
    assert counts == {0.0: 1, 1.0: 1, 2.0: 1, 32.0: 1}


def test_nothing_is_counted_as_nothing():
    stats = manifest_stats([])
    assert (stats.num_utterances, stats.hours, stats.max_duration, stats.alphabet) == (0, 0.0, 0.0, {})
