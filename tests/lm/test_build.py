import itertools
import math

import numpy as np
import pytest

from jasper.errors import LanguageModelError
from jasper.lm import read_arpa, write_arpa
from jasper.lm.build import build
from jasper.lm.ngram import scores_of

TEXT = ["a b a b c", "a b c", "c a b", "b", "a c c", "a b a"] * 3 + ["d a", "d b e", "e f a", "g"]


@pytest.mark.parametrize("prune", [(), (0, 1), (0, 0, 3)])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_after_every_context_the_words_have_probability_one_together(order, prune):
    model = build(TEXT, order, prune[:order])
    for state in range(len(model.table.backoff)):
        scores = [scores_of(model.table, state, np.array([word]))[0] for word in range(len(model.words))]
        total = np.exp(scores).sum()
        assert total == pytest.approx(1, abs=1e-6)


def test_bigrams_are_those_of_chen_and_goodmans_formula():
    """Worked from the counts by the formula (Chen and Goodman 1998, section 4.1.5), with dictionaries."""
    model = build(TEXT, 2)
    sentences = [["<s>", *text.split(), "</s>"] for text in TEXT]
    pairs = [pair for words in sentences for pair in itertools.pairwise(words)]
    counts = {pair: pairs.count(pair) for pair in pairs}
    words = {word for text in sentences for word in text} - {"<s>"}
    before = {word: sum(pair[1] == word for pair in counts) for word in words}

    def discounts(values):
        n1, n2, n3, n4 = (sum(value == number for value in values) for number in (1, 2, 3, 4))
        if not (n1 and n2 and n3):
            return {1: 0.5, 2: 1.0, 3: 1.5}
        y = n1 / (n1 + 2 * n2)
        found = {1: 1 - 2 * y * n2 / n1, 2: 2 - 3 * y * n3 / n2, 3: 3 - 4 * y * n4 / n3}
        return (
            found if all(0 <= value <= number for number, value in found.items()) else {1: 0.5, 2: 1, 3: 1.5}
        )

    def share(values, value):
        d = discounts(values)
        total = sum(values)
        return (value - d[min(value, 3)]) / total if value else 0, sum(d[min(v, 3)] for v in values) / total

    every, twos = list(before.values()), list(counts.values())
    for first in ("<s>", "a", "c"):
        d = discounts(twos)
        row = {pair[1]: count for pair, count in counts.items() if pair[0] == first}
        gamma = sum(d[min(count, 3)] for count in row.values()) / sum(row.values())
        for word in words:
            own, left = share(every, before[word])
            unigram = own + left / (len(words) + 1)
            count = row.get(word, 0)
            expected = (count - d[min(count, 3)]) / sum(row.values()) if count else 0.0
            expected += gamma * unigram
            state = 1 + model.ids[first]
            assert math.exp(scores_of(model.table, state, np.array([model.ids[word]]))[0]) == pytest.approx(
                expected, rel=1e-5
            )


def test_a_built_model_survives_its_arpa_file(tmp_path):
    model = build(TEXT, 3, (0, 0, 1))
    write_arpa(tmp_path / "model.arpa", model)
    again = read_arpa(tmp_path / "model.arpa")
    assert again.num_ngrams == model.num_ngrams
    for text in (*TEXT, "a strange c", ""):
        assert again.score(text) == pytest.approx(model.score(text), abs=1e-4)


def test_pruning_drops_what_is_rare_and_nothing_else():
    whole, pruned = build(TEXT, 2), build(TEXT, 2, (0, 1))
    text = " ".join(f"<s> {line} </s>" for line in TEXT).split()
    pairs = [pair for pair in itertools.pairwise(text) if pair != ("</s>", "<s>")]
    frequent = {pair for pair in pairs if pairs.count(pair) > 1}
    assert pruned.num_ngrams == (whole.num_ngrams[0], len(frequent))
    assert whole.num_ngrams[1] == len(set(pairs)) > len(frequent)


@pytest.mark.parametrize(
    ("sentences", "order", "prune", "message"),
    [
        ([" ", ""], 3, (), "no words"),
        (["a <s> b"], 3, (), "has one of"),
        (["a"], 0, (), "an order of 0"),
        (["a"], 2, (0, 1, 2), "at most 2 counts"),
        (["a"], 3, (0, 2, 1), "none below"),
    ],
)
def test_what_no_model_can_be_made_of(sentences, order, prune, message):
    with pytest.raises(LanguageModelError, match=message):
        build(sentences, order, prune)


def test_a_corpus_too_small_for_its_discounts_still_makes_a_model():
    assert np.isfinite(build(["a b c"], 3).score("a c b unheard"))
