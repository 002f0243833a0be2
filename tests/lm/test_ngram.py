import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from jasper.errors import LanguageModelError
from jasper.lm import load, read_arpa, read_binary, write_arpa, write_binary
from jasper.lm.ngram import Level, from_levels

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.arpa"
ARPA = GOLDEN.read_text()


@pytest.fixture(scope="module")
def model():
    return read_arpa(GOLDEN)


@pytest.fixture
def write(tmp_path):
    def written(text: str) -> Path:
        path = tmp_path / "model.arpa"
        path.write_text(text)
        return path

    return written


def test_scores_are_kenlms(model):
    """300 random sentences, one word in 13 unknown; golden.json holds what kenlm 0.3.0 gave."""
    golden = json.loads((HERE / "golden.json").read_text())
    for text, score in golden["scores"]:
        assert model.score(text) == pytest.approx(score, abs=1e-4)
    for text, score in golden["open"]:
        assert sum(model.score_words(text)[:-1]) == pytest.approx(score, abs=1e-4)


def test_the_binary_form_and_a_written_arpa_score_the_same(model, tmp_path):
    write_binary(tmp_path / "model.bin", model)
    write_arpa(tmp_path / "model.arpa.gz", model)
    mapped, text = load(tmp_path / "model.bin"), load(tmp_path / "model.arpa.gz")
    assert gzip.decompress((tmp_path / "model.arpa.gz").read_bytes()).startswith(b"\\data\\\n")
    for sentence in ("", "w1 w2 w3", "w5 strange w5 w0 w0"):
        assert mapped.score(sentence) == model.score(sentence)
        assert text.score(sentence) == pytest.approx(model.score(sentence), abs=1e-5)
    assert mapped.num_ngrams == text.num_ngrams == model.num_ngrams


def test_each_state_predicts_words_of_probability_one_together(model):
    from jasper.lm.ngram import scores_of

    for state in range(len(model.table.backoff)):
        scores = [scores_of(model.table, state, np.array([word]))[0] for word in range(len(model.words))]
        total = np.exp(scores).sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_a_shorter_context_that_is_not_listed_is_passed_over(write):
    """SRILM's pruning may drop (b c) and keep (a b c): after it comes the context (c)."""
    head = "\\data\\\nngram 1=6\nngram 2=2\nngram 3=1\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-1 </s>\n"
    grams = (
        "-1 a -0.1\n-1 b -0.2\n-1 c -0.3\n\n\\2-grams:\n-0.5 a b -0.4\n-0.6 c a\n\n\\3-grams:\n-0.7 a b c\n\n"
    )
    scores = read_arpa(write(head + grams + "\\end\\\n")).score_words("a b c a")
    # (a b c) ends in (c), so `a` after it is the 2-gram (c a); and (c a) has no back-off weight.
    assert np.array(scores) / math.log(10) == pytest.approx([-1, -0.5, -0.7, -0.6, -1.1], abs=1e-6)


def test_a_model_of_characters_or_one_order_alone(write):
    model = read_arpa(write("\\data\\\nngram 1=3\n\n\\1-grams:\n-0.5 <s>\n-0.5 </s>\n-0.5 a\n\n\\end\\\n"))
    assert model.score("a a") == pytest.approx(-1.5 * math.log(10))
    assert model.score("b") == pytest.approx(-100.5 * math.log(10))  # no <unk>: as KenLM has it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "truncated"),
        (lambda text: text.replace("\\end\\", ""), "ends after line"),
        (lambda text: text.replace("ngram 2=", "ngram 2=1"), "2-grams are announced"),
        (lambda text: text.replace("ngram 2=", "ngram 3="), "ngram 2=COUNT is expected"),
        (lambda text: text.replace("\\data\\", ""), "no ARPA file"),
        (lambda text: text.replace("\tw3", "\tv3", 1), "'w3' has no unigram"),
        (lambda text: text.replace("\t</s>", "\tend", 1), "no unigram <s> or </s>"),
        (lambda text: text.replace("\n-", "\n-x", 1), "line 8: not numbers"),
        (lambda text: text.replace("\n-", "\n9", 1), "a log-probability that is none"),
        (lambda text: text.replace("\\2-grams:", "\\3-grams:"), "\\\\2-grams: is expected"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(write, change, message):
    assert change(ARPA) != ARPA
    with pytest.raises(LanguageModelError, match=message):
        read_arpa(write(change(ARPA)))


def test_a_damaged_archive_or_binary_is_an_error(model, tmp_path):
    packed = tmp_path / "model.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.encode())[:-200])
    with pytest.raises(LanguageModelError, match="cannot be read"):
        load(packed)
    binary = tmp_path / "model.bin"
    write_binary(binary, model)
    binary.write_bytes(binary.read_bytes()[:-50])
    with pytest.raises(LanguageModelError, match="truncated"):
        read_binary(binary)
    binary.write_bytes(b"\x00\xff" * 100)
    with pytest.raises(LanguageModelError):
        load(binary)
    with pytest.raises(LanguageModelError, match="No such file"):
        load(tmp_path / "nowhere.arpa")


def test_an_n_gram_that_continues_nothing_is_an_error():
    words = ("<unk>", "<s>", "</s>", "a")
    nothing = np.zeros(4, np.float32)
    levels = [Level(np.arange(4, dtype=np.int32)[:, None], nothing, nothing)]
    twos, threes = np.array([[1, 3]], np.int32), np.array([[3, 3, 2]], np.int32)
    with pytest.raises(LanguageModelError, match="1 3-grams continue none"):
        from_levels(words, [*levels, *(Level(rows, nothing[:1], nothing[:1]) for rows in (twos, threes))])
    with pytest.raises(LanguageModelError, match="not each word of the vocabulary once"):
        from_levels(words[:3], levels)
    with pytest.raises(LanguageModelError, match="2-grams are listed twice"):
        from_levels(words, [*levels, Level(np.vstack([twos, twos]), nothing[:2], nothing[:2])])


@pytest.mark.slow
def test_ten_million_n_grams_open_in_a_second(tmp_path):
    rng = np.random.default_rng(0)
    num_words, sizes = 200_000, (3_000_000, 6_800_000)
    unigrams = np.arange(num_words, dtype=np.int32)[:, None]
    twos = np.unique(rng.integers(0, num_words, (sizes[0], 2), dtype=np.int32), axis=0)
    threes = np.column_stack(
        [np.repeat(twos, 3, axis=0)[: sizes[1]], rng.permutation(sizes[1]).astype(np.int32) % num_words]
    )
    levels = [
        Level(rows, np.full(len(rows), -1, np.float32), np.zeros(len(rows), np.float32))
        for rows in (unigrams, twos, np.unique(threes, axis=0))
    ]
    words = ["<unk>", "<s>", "</s>", *(f"word{number}" for number in range(3, num_words))]
    write_binary(tmp_path / "big.bin", from_levels(words, levels))
    start = time.perf_counter()
    model = load(tmp_path / "big.bin")
    model.score("word7 word8 word9")
    seconds = time.perf_counter() - start
    assert sum(model.num_ngrams) > 9_900_000
    assert seconds < 1
