"""What the network makes of noise is told from what it makes of speech."""

from dataclasses import replace

import numpy as np
import pytest

from jasper.decode.evident import EvidentSearch
from jasper.decode.greedy import GreedySearch, greedy, walk
from jasper.nonspeech import evidence, hush, least_evidence
from jasper.posteriors import Posteriors

BLANK = 2


def test_only_long_doubt_is_hushed():
    """Log-probs of 5 labels, 10 steps a second: 6 s sure, 6 s of noise, 2 s sure, 1 s of doubt, 3 s sure."""
    sure, doubt = np.log([0.96, 0.01, 0.01, 0.01, 0.01]), np.full(5, np.log(0.2))
    rows = np.repeat([sure, doubt, sure, doubt, sure], [60, 60, 20, 10, 30], axis=0).astype(np.float32)
    hushed = hush(Posteriors(4, rows), 0.1)
    changed = np.flatnonzero((hushed.whole() != rows).any(axis=1))
    assert abs(changed[0] - 60) <= 5
    assert abs(changed[-1] - 119) <= 5
    assert (hushed.whole()[changed].argmax(axis=1) == 4).all()
    assert_same_path(hushed.path, walk(hushed.whole(), 4)[0])
    np.testing.assert_array_equal(hush(Posteriors(4, rows[60:80]), 0.1).whole(), rows[60:80])


def test_a_path_alone_is_hushed_as_all_log_probs_are():
    """Where they stay on the device, which has told the entropy."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (400, 7)) * np.repeat([8, 0.3, 8, 0.5], 100)[:, None]
    rows = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    whole = Posteriors(6, rows)
    alone = Posteriors(6, None, replace(whole.path, entropy=whole.entropy()))
    hushed = hush(whole, 0.1)
    assert 100 < (hushed.path.labels == 6).sum() < 300
    assert_same_path(hush(alone, 0.1).path, hushed.path)


def assert_same_path(found, expected):
    for name in ("labels", "log_probs", "blanks"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def rows_of(probabilities):
    """Log_probs (T, 3) of steps at which the first label has these probabilities and the blank the rest."""
    first = np.array(probabilities, np.float64)
    return np.log(np.stack([first, np.full_like(first, 1e-6), 1 - first], axis=1)).astype(np.float32)


def test_evidence_is_of_the_likeliest_fifth_of_a_second():
    """Of 20 ms steps these are ten: the odds of each, multiplied, however many others are blank."""
    rows = rows_of([0.01] * 30 + [0.9] * 4 + [0.6] * 8 + [0.01] * 30)
    path, _ = walk(rows, BLANK)
    assert evidence(path, 0.02) == pytest.approx(4 * np.log(9) + 6 * np.log(1.5), abs=1e-4)
    assert evidence(path[30:33], 0.02) == pytest.approx(3 * np.log(9), abs=1e-4)  # there are but three
    assert evidence(path[:30], 0.02) == 0.0
    assert evidence(path[:0], 0.02) == 0.0


def test_what_is_asked_for_keeps_98_of_100_right_words_and_needs_as_many_as_that_says_something_of():
    words = np.random.default_rng(0).permutation(np.arange(1.0, 201.0))
    many = words + 100.0
    assert (words < least_evidence(words, many)).sum() == 3  # the 2 % lie between the fourth and the fifth
    assert least_evidence(words[:50], many) == words[:50].min()
    assert least_evidence(words[:49], many) == least_evidence(words[:0], words[:0]) == 0.0


def test_it_keeps_998_of_1000_utterances_so_that_words_that_stand_alone_are_not_lost():
    words = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    assert (words < least_evidence(words, words)).sum() == 1  # the 2 ‰ lie between the second and the third
    assert least_evidence(words[:400], words[:400]) == words[:400].min()


def test_a_search_finds_nothing_in_rows_without_evidence_and_the_same_in_others():
    sure, unsure = rows_of([0.01, 0.99, 0.99, 0.01]), rows_of([0.01, 0.6, 0.6, 0.01])
    batch, lengths = np.stack([sure, unsure, sure]), np.array([4, 4, 1])
    kept = batch.copy()

    def search(log_probs, lengths):
        return [[best] for best in greedy(log_probs, lengths, BLANK)]

    plain = search(batch, lengths)
    found = EvidentSearch(search, 3.0, BLANK, 0.04)(batch, lengths)
    assert [row[0].tokens for row in plain] == [(0,), (0,), ()]
    assert [row[0].tokens for row in found] == [(0,), (), ()]
    assert found[0] == plain[0]
    np.testing.assert_array_equal(batch, kept)
    assert GreedySearch(BLANK, 3.0, 0.04)(batch, lengths) == found
