import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.config import DecodeConfig, SubwordConfig
from jasper.decode import align, greedy
from jasper.decode.beam import BeamSearch
from jasper.errors import ConfigError, LanguageModelError, ModelError, TextError
from jasper.lm import NGram, read_arpa
from jasper.recipe import parse_config
from jasper.text import Tokenizer

LABELS = (" ", "a", "b")
TOKENIZER = Tokenizer(LABELS)
ALL = {"search": "beam", "beam_width": 400, "cutoff_prob": 1.0, "prune": None, "nbest": 400, "threads": 1}

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


def all_texts(log_probs: np.ndarray, blank: int, gap: int | None) -> dict[tuple[int, ...], float]:
    """Every text and its log-probability: the sum over every alignment there is.

    Several gaps are one, and none at the beginning is one.
    """
    steps, classes = log_probs.shape
    texts: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(classes), repeat=steps):
        merged = (label for label, _ in itertools.groupby(path))
        text = one_gap((label for label in merged if label != blank), gap)
        texts[text] = texts.get(text, 0.0) + math.exp(sum(float(log_probs[t, c]) for t, c in enumerate(path)))
    return {text: math.log(probability) for text, probability in texts.items()}


def one_gap(labels, gap: int | None) -> tuple[int, ...]:
    """The labels without what says no more: a gap after a gap, or at the beginning."""
    kept = []
    for label in labels:
        if label != gap or (kept and kept[-1] != gap):
            kept.append(label)
    return tuple(kept)


def assert_exact(log_probs, search: BeamSearch, added, *, gap: int | None = 0) -> None:
    """N best lists of all texts agree with brute force; `added` maps a text to what is fused."""
    texts = all_texts(log_probs, search.tokenizer.blank, gap)
    expected = {text: score + added(search.tokenizer.decode(text)) for text, score in texts.items()}
    expected = {text: score for text, score in expected.items() if score > -math.inf}
    (found,) = search(log_probs[None], np.array([len(log_probs)]))
    assert {hypothesis.tokens for hypothesis in found} == set(expected)
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.tokens], abs=1e-5)
        assert hypothesis.added == pytest.approx(added(search.tokenizer.decode(hypothesis.tokens)), abs=1e-5)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


seeds, few_steps = st.integers(0, 2**32), st.integers(0, 4)
quietly = settings(max_examples=25, deadline=None)


@given(seeds, few_steps, st.sampled_from([None, 0.7]))
@quietly
def test_n_best_without_a_language_model_is_exact(seed, steps, beta):
    """Words are worth nothing by themselves unless `beta` says so."""
    search = BeamSearch(TOKENIZER, DecodeConfig(**ALL, beta=beta))
    assert_exact(random_log_probs(seed, steps), search, lambda text: (beta or 0.0) * len(text.split()))


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

    # A model of characters counts each space.
    assert_exact(random_log_probs(seed, steps), BeamSearch(TOKENIZER, config, lm=trigram), added, gap=None)


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


@given(st.lists(st.integers(0, 40), min_size=2, max_size=4), seeds, st.sampled_from([1, 3]))
@settings(max_examples=20, deadline=None)
def test_a_row_gives_in_a_batch_what_it_gives_alone(lengths, seed, nbest):
    """Also where the lexicon lets no text of one row end, and memory for the alignment of all is short."""
    config = DecodeConfig(search="beam", beam_width=6, nbest=nbest, threads=2)
    search = BeamSearch(TOKENIZER, config, lexicon=["aab", "bab"])
    batch = np.stack([random_log_probs(seed + row, 45) for row in range(len(lengths))])
    rows = zip(batch, lengths, strict=True)
    alone = [search(row[None, :length], np.array([length]))[0] for row, length in rows]
    assert search(batch, np.array(lengths)) == alone
    for (best, *_), row, length in zip(alone, batch, lengths, strict=True):
        spans = align.align_tokens(row[:length], best.tokens, TOKENIZER.blank)
        assert best.frames == tuple(spans.starts.tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(align, "MAX_BACK_POINTERS", 100)
        assert search(batch, np.array(lengths)) == alone


def test_a_wide_beam_finds_the_best_text_that_a_narrow_one_misses():
    log_probs = random_log_probs(3, 30, sharpness=0.7)[None]
    config = DecodeConfig(search="beam", cutoff_prob=1.0, prune=None)
    scores = []
    for width in (1, 4, 400):
        search = BeamSearch(TOKENIZER, config.model_copy(update={"beam_width": width}))
        scores.append(search(log_probs, np.array([30]))[0][0].score)
    assert scores[0] < scores[2]
    assert scores[1] <= scores[2] + 1e-6


def test_a_narrow_beam_finds_better_texts_where_those_that_go_on_alike_are_recombined(trigram):
    log_probs = np.stack([random_log_probs(seed, 100) for seed in range(10)])
    scores = []
    for recombine in (False, True):
        config = DecodeConfig(beam_width=8, recombine=recombine, threads=1)
        search = BeamSearch(TOKENIZER, config, lm=trigram, lexicon=["a", "b", "ab", "ba"])
        scores.append(sum(best.score for (best,) in search(log_probs, np.full(10, 100))))
    assert scores[1] > scores[0] + 5


@given(seeds, st.integers(1, 6), st.integers(2, 12), st.booleans())
@quietly
def test_n_best_of_a_recombined_search_have_their_exact_scores(trigram, seed, steps, width, with_lm):
    """What gave way to another text comes back with all of its alignments, and nothing that does not fit."""
    lm = trigram if with_lm else None
    config = DecodeConfig(beam_width=width, cutoff_prob=1.0, prune=None, nbest=30, recombine=True, alpha=0.7)
    search = BeamSearch(TOKENIZER, config, lm=lm)
    log_probs = random_log_probs(seed, steps)
    expected = all_texts(log_probs, TOKENIZER.blank, 0)
    (found,) = search(log_probs[None], np.array([steps]))
    assert len({one.tokens for one in found}) == len(found) > 0
    for one in found:
        assert one.score - one.added == pytest.approx(expected[one.tokens], abs=1e-4)
        if with_lm:
            text = TOKENIZER.decode(one.tokens)
            strange = sum(word not in ("a", "b", "ab", "ba") for word in text.split())
            added = 0.7 * trigram.score(text) + len(text.split()) - 8.0 * strange
            assert one.added == pytest.approx(added, abs=1e-4)


def test_the_best_of_many_texts_is_no_worse_than_the_one_of_a_search_for_one(trigram):
    """N best of a narrow beam that recombined nothing were far below what a search for one text found."""
    log_probs, lengths = np.stack([random_log_probs(seed, 100) for seed in range(10)]), np.full(10, 100)
    scores = {}
    for nbest, recombine in ((1, None), (20, True), (20, None)):
        config = DecodeConfig(beam_width=8, nbest=nbest, recombine=recombine, threads=1)
        found = BeamSearch(TOKENIZER, config, lm=trigram, lexicon=["a", "b", "ab", "ba"])(log_probs, lengths)
        scores[nbest, recombine] = np.array([row[0].score for row in found])
        assert recombine is None or all(len(row) == nbest for row in found)
    assert (scores[20, True] >= scores[1, None] - 1e-6).all()
    assert scores[20, True].sum() > scores[20, None].sum() + 3


def test_on_sure_log_probs_it_agrees_with_greedy():
    log_probs, lengths = random_log_probs(0, 60, sharpness=40.0)[None], np.array([60])
    (expected,) = greedy(log_probs, lengths, TOKENIZER.blank)
    ((found,),) = BeamSearch(TOKENIZER, DecodeConfig(search="beam"))(log_probs, lengths)
    assert found.tokens == one_gap(expected.tokens, 0)
    assert set(found.frames) <= set(expected.frames)
    assert found.score >= expected.score - 1e-6


def test_hotwords_outside_the_vocabulary_come_back(trigram):
    """`bb` is no word of the model: without the hotword its letters make way for words that are."""
    spoken = "ab bb a"
    path = [label for char in spoken for label in (TOKENIZER.encode(char)[0], TOKENIZER.blank)]
    log_probs = np.log(np.eye(4, dtype=np.float32)[path] * 0.6 + 0.1)
    config = DecodeConfig(search="beam", alpha=1.0, unknown=-6.0)
    texts = []
    for hotwords in ({}, {"bb": 6.0}):
        search = BeamSearch(TOKENIZER, config, lm=trigram, hotwords=hotwords)
        ((found,),) = search(log_probs[None], np.array([len(path)]))
        texts.append(TOKENIZER.decode(found.tokens).split())
    assert "bb" not in texts[0]
    assert "bb" in texts[1]


def test_nothing_but_words_of_the_lexicon_even_where_the_sound_breaks_off():
    search = BeamSearch(TOKENIZER, DecodeConfig(search="beam", beam_width=1), lexicon=["ab"])
    log_probs = np.log(np.eye(4, dtype=np.float32)[[1, 3, 2, 0, 1, 1]] * 0.96 + 0.01)
    ((found,),) = search(log_probs[None], np.array([6]))
    assert TOKENIZER.decode(found.tokens).split() == ["ab"]


SUBWORDS = Tokenizer([" a", "b", " ab"], SubwordConfig(algorithm="unigram", scores=(-1.0,) * 3))


@given(seeds, few_steps, st.booleans())
@quietly
def test_labels_of_several_characters_spell_words_however_they_are_cut(trigram, seed, steps, with_lm):
    """`ab` is one label or two, with the same score from the model and as a hotword."""
    lm = trigram if with_lm else None
    config = DecodeConfig(**ALL, alpha=0.7, beta=0.3, unknown=-3.0)
    search = BeamSearch(SUBWORDS, config, lm=lm, hotwords={"ab": 1.0, "a ab": 0.5})

    def added(text):
        words = text.split()
        pairs = sum(pair == ("a", "ab") for pair in itertools.pairwise(words))
        bonus = words.count("ab") + 0.5 * pairs + 0.3 * len(words)
        if not with_lm:
            return bonus
        strange = sum(word not in ("a", "b", "ab", "ba") for word in words)
        return bonus + 0.7 * trigram.score(text) - 3.0 * strange

    assert_exact(random_log_probs(seed, steps), search, added, gap=None)


def test_a_lexicon_of_subwords():
    search = BeamSearch(SUBWORDS, DecodeConfig(**ALL), lexicon=["ab", "abb"])
    assert_exact(
        random_log_probs(5, 4),
        search,
        lambda text: 0.0 if set(text.split()) <= {"ab", "abb"} else -math.inf,
        gap=None,
    )


def test_subwords_end_with_the_last_complete_word_where_the_sound_breaks_off():
    """The whole text was lost where no label of a word could stand alone, since a word's end is no label."""
    tokenizer = Tokenizer([" a", "b", " b", "c"], SubwordConfig(algorithm="unigram", scores=(-1.0,) * 4))
    search = BeamSearch(tokenizer, DecodeConfig(beam_width=1), lexicon=["ab", "bcc"])
    log_probs = np.log(np.eye(5, dtype=np.float32)[[0, 1, 4, 2, 3]] * 0.95 + 0.01)  # ab, and bc of bcc
    ((found,),) = search(log_probs[None], np.array([5]))
    assert tokenizer.decode(found.tokens).strip() == "ab"
    ways = [
        path
        for path in itertools.product(range(5), repeat=5)
        if [label for label, _ in itertools.groupby(path) if label != 4] == [0, 1]
    ]
    total = np.logaddexp.reduce([log_probs[range(5), path].sum() for path in ways])
    assert found.score == pytest.approx(total, abs=1e-5)
    assert found.frames == (0, 1)


def test_an_empty_row_and_an_empty_batch():
    search = BeamSearch(TOKENIZER, DecodeConfig(search="beam"))
    ((empty,),) = search(np.zeros((1, 0, 4), np.float32), np.array([0]))
    assert (empty.tokens, empty.score) == ((), 0.0)
    assert search(np.zeros((0, 5, 4), np.float32), np.zeros(0, np.int64)) == []


def test_bad_input_is_an_error_that_says_what():
    search = BeamSearch(TOKENIZER, DecodeConfig(search="beam"))
    log_probs = random_log_probs(0, 6)[None].copy()
    with pytest.raises(ModelError, match="within the 6 steps"):
        search(log_probs, np.array([7]))
    log_probs[0, 3, 1] = np.nan
    with pytest.raises(ModelError, match="row 0, step 3"):
        search(log_probs, np.array([6]))
    with pytest.raises(ConfigError, match="beam_width"):
        parse_config(DecodeConfig, {"beam_width": 0}, "decoding")
    with pytest.raises(TextError, match="not among the labels"):
        BeamSearch(TOKENIZER, DecodeConfig(), hotwords={"cab": 1.0})
    with pytest.raises(LanguageModelError, match="another alphabet or case"):
        BeamSearch(TOKENIZER, DecodeConfig(), lexicon=["AB", "BA"])


CODE = """
import sys
if sys.argv[1] == "hidden":
    sys.modules["numba"] = None
import numpy as np
from jasper.config import DecodeConfig
from jasper.decode.beam import BeamSearch
from jasper.text import Tokenizer
logits = np.random.default_rng(0).normal(0, 2, (2, 40, 4))
log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
search = BeamSearch(Tokenizer(" ab"), DecodeConfig(beam_width=8, nbest=3), hotwords={"ab": 1.0})
print(search(log_probs.astype(np.float32), np.array([40, 25])))
search = BeamSearch(Tokenizer(" ab"), DecodeConfig(beam_width=8), lexicon=["a", "ab", "ba"])
print(search(log_probs.astype(np.float32), np.array([40, 25])))
"""


def test_without_numba_the_results_are_the_same():
    """Platforms that numba has no wheel for run the same loops in Python."""
    outputs = [
        subprocess.run([sys.executable, "-c", CODE, numba], capture_output=True, text=True, check=True).stdout
        for numba in ("hidden", "installed")
    ]
    assert outputs[0] == outputs[1] != ""
