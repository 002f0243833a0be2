import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasper.decode.viterbi as viterbi
from jasper.config import DecodeConfig, SubwordConfig
from jasper.decode import greedy
from jasper.decode.align import align_tokens, text_log_prob
from jasper.decode.beam import BeamSearch
from jasper.decode.words import words_of
from jasper.errors import TextError
from jasper.text import Tokenizer, min_frames

TOKENIZER = Tokenizer(" ab")
BLANK = 3
texts = st.lists(st.integers(0, 2), max_size=3)


def random_log_probs(seed: int, steps: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (steps, 4))
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def paths_of(tokens, steps):
    """Every alignment that spells the tokens."""
    for path in itertools.product(range(4), repeat=steps):
        if [label for label, _ in itertools.groupby(path) if label != BLANK] == tokens:
            yield path


@given(st.integers(0, 2**32), texts, st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_the_alignment_is_the_best_of_all_and_the_probability_their_sum(seed, tokens, steps):
    log_probs = random_log_probs(seed, steps)
    scores = [sum(float(log_probs[t, c]) for t, c in enumerate(path)) for path in paths_of(tokens, steps)]
    if not scores:
        with pytest.raises(TextError, match="do not fit into"):
            align_tokens(log_probs, tokens, BLANK)
        return
    assert align_tokens(log_probs, tokens, BLANK).score == pytest.approx(max(scores), abs=1e-5)
    total = text_log_prob(log_probs, np.array(tokens, np.int64), BLANK)
    assert total == pytest.approx(math.log(sum(map(math.exp, scores))), abs=1e-5)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 2), max_size=40))
@settings(max_examples=25, deadline=None)
def test_halving_long_audio_gives_the_same_alignment(seed, tokens):
    log_probs = random_log_probs(seed, min_frames(tokens) + 20)
    whole = align_tokens(log_probs, tokens, BLANK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "MAX_BACK_POINTERS", 30)
        halved = align_tokens(log_probs, tokens, BLANK)
    assert halved.score == pytest.approx(whole.score, abs=1e-9)
    assert halved.starts.tolist() == whole.starts.tolist()
    assert halved.ends.tolist() == whole.ends.tolist()


@given(st.integers(0, 2**32), st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_times_of_either_search_are_the_forced_alignments(seed, steps):
    log_probs = random_log_probs(seed, steps)
    lengths = np.array([steps])
    ((beam,),) = BeamSearch(TOKENIZER, DecodeConfig())(log_probs[None], lengths)
    for hypothesis in (*greedy(log_probs[None], lengths, BLANK), beam):
        spans = align_tokens(log_probs, hypothesis.tokens, BLANK)
        assert hypothesis.frames == tuple(spans.starts.tolist())


def test_words_have_times_and_the_probability_of_what_stands_there():
    path = [3, 1, 1, 2, 3, 0, 3, 2, 3]  # " ab" spelt "ab b"
    log_probs = np.log(np.eye(4)[path] * 0.8 + 0.05).astype(np.float32)
    log_probs[7] = np.log([0.05, 0.4, 0.45, 0.1])
    first, second = words_of([1, 2, 0, 2], log_probs, TOKENIZER, 0.04)
    assert (first.text, second.text) == ("ab", "b")
    assert (first.start, first.end) == pytest.approx((0.04, 0.16))
    assert (second.start, second.end) == pytest.approx((0.28, 0.32))
    spoken = sum(
        math.exp(sum(float(log_probs[6 + t, c]) for t, c in enumerate(path))) for path in paths_of([2], 3)
    )
    assert second.confidence == pytest.approx(spoken, abs=1e-6)
    assert second.confidence < first.confidence <= 1


def test_no_words_in_nothing():
    assert words_of([], random_log_probs(0, 3), TOKENIZER, 0.02) == ()
    assert words_of([0, 0], random_log_probs(0, 3), TOKENIZER, 0.02) == ()
    assert words_of([], random_log_probs(0, 3)[:0], TOKENIZER, 0.02) == ()


def test_labels_that_begin_with_a_space_begin_words():
    tokenizer = Tokenizer([" a", "b", " b", " "], SubwordConfig(algorithm="unigram", scores=(-1.0,) * 4))
    log_probs = np.log(np.eye(5)[[0, 4, 1, 2, 2, 4, 3, 1]] * 0.8 + 0.04).astype(np.float32)
    words = words_of([0, 1, 2, 3, 1], log_probs, tokenizer, 1.0)
    assert [(word.text, word.start, word.end) for word in words] == [("ab", 0, 3), ("b", 3, 5), ("b", 7, 8)]
