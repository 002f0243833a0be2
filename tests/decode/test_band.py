import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.decode import band
from jasper.decode.align import align_tokens
from jasper.decode.viterbi import best_path
from jasper.text import Tokenizer

TOKENIZER = Tokenizer(" abcdefgh")
BLANK = TOKENIZER.blank


def spoken(rng, tokens):
    """Log-probabilities (T, V) of noisy speech that says the tokens, and of pauses in it."""
    path = []
    for token in tokens:
        path += [token] * rng.integers(1, 3) + [BLANK] * (rng.integers(0, 3) if rng.random() < 0.9 else 15)
    logits = 4.0 * np.eye(BLANK + 1)[path] + rng.normal(0, 1.2, (len(path), BLANK + 1))
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def states_of(tokens):
    states = np.full(2 * len(tokens) + 1, BLANK, np.int64)
    states[1::2] = tokens
    return states


@pytest.fixture
def widths(monkeypatch):
    """Narrow bands, and the width of each that is tried."""
    tried = []
    search = band._from_the_left

    def spy(log_probs, states, blank, width):
        tried.append(width)
        return search(log_probs, states, blank, width)

    monkeypatch.setattr(band, "_from_the_left", spy)
    monkeypatch.setattr(band, "WIDTH", 128)
    monkeypatch.setattr(band, "BLOCK", 16)
    return tried


@pytest.mark.parametrize("seed", range(3))
def test_a_band_around_the_text_finds_the_path_of_all_states(widths, seed):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, BLANK, 1500)
    log_probs = spoken(rng, tokens)
    expected = best_path(log_probs, states_of(tokens), BLANK)
    np.testing.assert_array_equal(band.path_in_a_band(log_probs, states_of(tokens), BLANK), expected)
    assert widths == [128, 128]  # one from the left, one from the right


@pytest.mark.parametrize("place", [0, 600, 1200])
@pytest.mark.parametrize("left_out", ["of the text", "of the sound"])
def test_a_band_that_loses_the_path_is_widened(widths, place, left_out):
    """Three hundred letters are said and not written, or written and not said, more than the band is wide."""
    rng = np.random.default_rng(place)
    tokens = rng.integers(0, BLANK, 1500)
    rest = np.delete(tokens, np.s_[place : place + 300])
    said, written = (tokens, rest) if left_out == "of the text" else (rest, tokens)
    log_probs, states = spoken(rng, said), states_of(written)
    spans = align_tokens(log_probs, written.tolist(), BLANK)
    assert widths[-1] > 128
    assert spans.score == pytest.approx(
        band.path_score(best_path(log_probs, states, BLANK), log_probs, states), abs=1e-6
    )


@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 300))
@settings(max_examples=20, deadline=None)
def test_a_path_in_a_band_spells_the_text_whatever_is_said(seed, letters, steps):
    rng = np.random.default_rng(seed)
    tokens, log_probs = rng.integers(0, BLANK, letters), spoken(rng, rng.integers(0, BLANK, steps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band, "WIDTH", 16)
        patch.setattr(band, "BLOCK", 4)
        path = band.path_in_a_band(log_probs, states_of(tokens), BLANK)
    if path is not None:
        moves = np.diff(path)
        assert path[0] < 2
        assert path[-1] >= 2 * letters - 1
        assert moves.min() >= 0
        assert moves.max() <= 2
        assert set(np.arange(1, 2 * letters, 2)) <= set(path)


def test_the_work_of_an_hour_is_twice_that_of_half(widths, monkeypatch):
    """It was the square: all of the text at each step."""
    cells = []
    trace = band.trace_from

    def counted(path, log_probs, states, *others):
        cells.append(len(path) * len(states))
        return trace(path, log_probs, states, *others)

    monkeypatch.setattr(band, "trace_from", counted)
    work = []
    for letters in (1500, 3000):
        rng = np.random.default_rng(letters)
        tokens = rng.integers(0, BLANK, letters)
        log_probs = spoken(rng, tokens)
        cells.clear()
        assert band.path_in_a_band(log_probs, states_of(tokens), BLANK) is not None
        work.append(sum(cells) / len(log_probs))
    assert work[1] == pytest.approx(work[0], rel=0.1)
