import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasper.metrics import align, bootstrap_interval, count_errors, score, score_utterance
from jasper.types import ErrorCounts

sentences = st.lists(st.sampled_from(["a", "the", "cat", "cats", "sat", "mat"]), max_size=8).map(" ".join)
pairs = st.lists(st.tuples(sentences.filter(bool), sentences), min_size=1, max_size=5)


def edit_distance(reference, hypothesis):
    table = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    table[:, 0], table[0] = range(len(reference) + 1), range(len(hypothesis) + 1)
    for i, spoken in enumerate(reference):
        for j, heard in enumerate(hypothesis):
            across = table[i, j] + (spoken != heard)
            table[i + 1, j + 1] = min(across, table[i, j + 1] + 1, table[i + 1, j] + 1)
    return table[-1, -1]


@given(pairs)
def test_rates_and_counts_agree_with_jiwer(texts):
    references, hypotheses = map(list, zip(*texts, strict=True))
    found = score([score_utterance(str(i), *pair) for i, pair in enumerate(texts)])
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    for counts, oracle, rate in (
        (found.words, words, words.wer),
        (found.characters, characters, characters.cer),
    ):
        assert counts.substitutions == oracle.substitutions
        assert counts.deletions == oracle.deletions
        assert counts.insertions == oracle.insertions
        assert counts.reference_length == oracle.hits + oracle.substitutions + oracle.deletions
        assert counts.rate == pytest.approx(rate, abs=1e-12)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_errors_are_the_fewest(reference, hypothesis):
    counts = count_errors(reference, hypothesis)
    assert counts.errors == edit_distance(reference, hypothesis)
    assert counts.deletions - counts.insertions == len(reference) - len(hypothesis)


@given(sentences, sentences)
def test_alignment_holds_both_texts_and_its_counts(reference, hypothesis):
    reference, hypothesis = reference.split(), hypothesis.split()
    edits = align(reference, hypothesis)
    assert [edit.reference for edit in edits if edit.reference is not None] == reference
    assert [edit.hypothesis for edit in edits if edit.hypothesis is not None] == hypothesis
    kinds = [edit.kind for edit in edits]
    counts = count_errors(reference, hypothesis)
    assert kinds.count("substitute") == counts.substitutions
    assert kinds.count("delete") == counts.deletions
    assert kinds.count("insert") == counts.insertions
    for edit in edits:
        assert (edit.reference == edit.hypothesis) == (edit.kind == "equal")


def test_character_error_rate_counts_spaces():
    """The model zoo's CER ignores spaces; the field's counts them."""
    scored = score_utterance("u", "ice cream", "icecream")
    assert scored.characters == ErrorCounts(deletions=1, reference_length=9)


def test_white_space_is_one_space():
    scored = score_utterance("u", " the\t cat\n", "the cat")
    assert scored.words == ErrorCounts(reference_length=2)
    assert scored.characters == ErrorCounts(reference_length=7)


def test_empty_reference():
    assert score_utterance("u", "", "").words.rate == 0
    assert score_utterance("u", "", "two words").words.rate == 2
    assert score([]).wer == 0
    assert bootstrap_interval([ErrorCounts(insertions=2)]) == (2, 2)


def test_set_keeps_every_utterance_in_order():
    scored = [score_utterance(name, "a b", "a", "speaker", 1.5) for name in ("z", "a", "m")]
    found = score(scored)
    assert [utterance.id for utterance in found.utterances] == ["z", "a", "m"]
    assert found.wer == 0.5
    assert found.wer_interval == (0.5, 0.5)


def test_interval_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(1)
    errors = rng.binomial(10, 0.2, 500)
    low, high = bootstrap_interval([ErrorCounts(int(count), reference_length=10) for count in errors])
    spread = 1.96 * errors.std() / 10 / np.sqrt(500)
    # The percentiles of 1000 draws are themselves uncertain by about 5 % of the spread.
    assert low == pytest.approx(errors.mean() / 10 - spread, abs=0.2 * spread)
    assert high == pytest.approx(errors.mean() / 10 + spread, abs=0.2 * spread)


def test_interval_is_the_seed_s():
    counts = [ErrorCounts(errors, reference_length=10 + errors**2) for errors in range(50)]
    assert bootstrap_interval(counts, seed=3) == bootstrap_interval(counts, seed=3)
    assert bootstrap_interval(counts, seed=3) != bootstrap_interval(counts, seed=4)
