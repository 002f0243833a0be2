import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.lm import NGram, read_arpa
from jasper.text import Tokenizer

LABELS = (" ", "a", "b")
TOKENIZER = Tokenizer(LABELS)
ALL = {"search": "beam", "beam_width": 4000, "cutoff_prob": 1.0, "prune": None, "nbest": 4000, "threads": 1}

TRIGRAM = r"""\data\
ngram 1=7
ngram 2=5
ngram 3=3

\1-grams:
-1.0	<unk>
-99	<s>	-0.3
-1.2	</s>
-0.7	a	-0.2
-0.8	b	-0.1
-1.1	ab	-0.4
-1.3	ba	-0.25

\2-grams:
-0.4	<s> a	-0.15
-0.5	a b	-0.05
-0.6	b </s>
-0.45	ab a	-0.3
-0.2	ba ab

\3-grams:
-0.1	<s> a b
-0.2	a b </s>
-0.3	ab a b

\end\
"""


@pytest.fixture(scope="module")
def trigram(tmp_path_factory) -> NGram:
    path = tmp_path_factory.mktemp("lm") / "trigram.arpa"
    path.write_text(TRIGRAM)
    return read_arpa(path)


def random_log_probs(seed: int, steps: int, classes: int = 4, sharpness: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, sharpness, (steps, classes))
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)


def all_texts(log_probs: np.ndarray, blank: int) -> dict[tuple[int, ...], float]:
    """Every text and its log-probability: the sum over every alignment there is."""
    steps, classes = log_probs.shape
    texts: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(classes), repeat=steps):
        merged = (label for label, _ in itertools.groupby(path))
        text = tuple(label for label in merged if label != blank)
        texts[text] = texts.get(text, 0.0) + math.exp(sum(float(log_probs[t, c]) for t, c in enumerate(path)))
    return {text: math.log(probability) for text, probability in texts.items()}


def assert_exact(log_probs, search: BeamSearch, added) -> None:
    """N best lists of all texts agree with brute force; `added` maps a text to what is fused."""
    texts = all_texts(log_probs, search.tokenizer.blank)
    expected = {text: score + added(search.tokenizer.decode(text)) for text, score in texts.items()}
    expected = {text: score for text, score in expected.items() if score > -math.inf}
    (found,) = search(log_probs[None], np.array([len(log_probs)]))
    assert {hypothesis.tokens for hypothesis in found} == set(expected)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.tokens], abs=1e-5)
        assert hypothesis.added == pytest.approx(added(search.tokenizer.decode(hypothesis.tokens)), abs=1e-5)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


seeds, few_steps = st.integers(0, 2**32), st.integers(0, 5)
quietly = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(seeds, few_steps)
@quietly
def test_n_best_without_a_language_model_is_exact(seed, steps):
    assert_exact(
        random_log_probs(seed, steps),
        BeamSearch(TOKENIZER, DecodeConfig(**ALL)),
        lambda text: 0.0 + len(text.split()),
    )


@given(seeds, few_steps, st.floats(0, 3), st.floats(-2, 2), st.floats(-6, 0))
@quietly
def test_n_best_with_a_word_model_is_exact(trigram, seed, steps, alpha, beta, unknown):
    config = DecodeConfig(**ALL, alpha=alpha, beta=beta, unknown=unknown)

    def added(text):
        strange = sum(word not in ("a", "b", "ab", "ba") for word in text.split())
        return alpha * trigram.score(text) + beta * len(text.split()) + unknown * strange

    assert_exact(random_log_probs(seed, steps), BeamSearch(TOKENIZER, config, lm=trigram), added)


@given(seeds, few_steps, st.floats(0.1, 2), st.floats(-1, 1))
@quietly
def test_n_best_with_a_character_model_is_exact(trigram, seed, steps, alpha, beta):
    """The model of words serves as one of characters that has no space."""
    config = DecodeConfig(**ALL, lm_unit="character", alpha=alpha, beta=beta)

    def added(text):
        characters = " ".join("nothing" if character == " " else character for character in text)
        return alpha * trigram.score(characters) + beta * len(text)

    assert_exact(random_log_probs(seed, steps), BeamSearch(TOKENIZER, config, lm=trigram), added)


@given(seeds, few_steps, st.booleans())
@quietly
def test_a_lexicon_leaves_its_words_alone(trigram, seed, steps, with_lm):
    lm = trigram if with_lm else None
    search = BeamSearch(
        TOKENIZER, DecodeConfig(**ALL, alpha=0.7, beta=0.3), lm=lm, lexicon=["a", "ab", "aab"]
    )

    def added(text):
        if not set(text.split()) <= {"a", "ab", "aab"}:
            return -math.inf
        return (0.7 * trigram.score(text) if with_lm else 0.0) + 0.3 * len(text.split())

    assert_exact(random_log_probs(seed, steps), search, added)


@given(seeds, few_steps, st.booleans())
@quietly
def test_hotwords_count_where_they_stand_as_words(trigram, seed, steps, with_lm):
    weights = {"a": 0.5, "a b": 1.5, "bb": 2.0, "b a b": 3.0, "ab": -1.0}
    lm = trigram if with_lm else None
    config = DecodeConfig(**ALL, alpha=0.5, beta=0.0, unknown=-3.0)
    search = BeamSearch(TOKENIZER, config, lm=lm, hotwords=weights)

    def added(text):
        spaced = f" {' '.join(text.split())} "
        bonus = sum(
            weight * sum(spaced.startswith(f" {phrase} ", place) for place in range(len(spaced)))
            for phrase, weight in weights.items()
        )
        if not with_lm:
            return bonus
        strange = sum(word not in ("a", "b", "ab", "ba", "bb") for word in text.split())
        return bonus + 0.5 * trigram.score(text) - 3.0 * strange

    assert_exact(random_log_probs(seed, steps), search, added)
