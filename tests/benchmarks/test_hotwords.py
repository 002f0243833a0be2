"""Names are forced to be misheard, nothing else is, and hotwords bring them back."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tones import random_texts, recipe, write_corpus

from jasper.decode.beam import BeamSearch
from jasper.lm import write_arpa
from jasper.lm.build import build
from jasper.text import Tokenizer
from jasper.train import train

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
from hotwords import CONFIG, heard, misheard, pick  # noqa: E402

TOKENIZER = Tokenizer(" adelmno")
TEXT = "a melon and a dean"


def said(text: str) -> np.ndarray:
    """Log-probabilities (T, V): a step for each label and a blank after it; else a thirtieth as likely."""
    path = [step for label in TOKENIZER.encode(text) for step in (label, TOKENIZER.blank)]
    weights = np.random.default_rng(0).uniform(0.5, 1.5, (len(path), TOKENIZER.blank + 1))
    weights[np.arange(len(path)), path] = 30
    return np.log(weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("letters", [1, 2])
def test_a_name_is_misheard_where_it_is_said_and_its_hotword_brings_it_back(letters):
    plain = BeamSearch(TOKENIZER, CONFIG)
    row, words = said(TEXT), TEXT.split()
    (name,) = pick(plain, [row], [words], {})
    assert (name.word, name.first) == ("melon", 2)  # the one word of five letters
    changed = misheard(row, name, letters, TOKENIZER)
    np.testing.assert_array_equal(np.sort(changed), np.sort(row))  # exchanged, so no probability is lost
    touched = np.flatnonzero((changed != row).any(axis=1))
    assert 2 * name.first <= touched.min()
    assert touched.max() < 2 * (name.first + len(name.word))
    texts = heard(plain, [changed])
    wrong = [one for one, other in zip(texts[0], words, strict=True) if one != other]
    assert len(wrong) == 1
    assert sum(a != b for a, b in zip(wrong[0], "melon", strict=True)) == letters
    hotwords = {"melon": 4.5 * letters}  # a letter's way back is ln 60 at most, five others' are far
    assert heard(BeamSearch(TOKENIZER, CONFIG, hotwords=hotwords), [changed]) == [words]


def test_no_name_is_frequent_short_or_misheard_already():
    search, row = BeamSearch(TOKENIZER, CONFIG), said(TEXT)
    assert pick(search, [row], [TEXT.split()], {"melon": 499}) == []
    assert pick(search, [row], [["a", "lemon", "and", "a", "dean"]], {}) == []
    assert len(pick(search, [row, row], [TEXT.split()] * 2, {"melon": 500})) == 1  # none twice


@pytest.mark.slow
def test_its_tables_count_each_name_once(tmp_path):
    texts = [text.replace(" ", "") for text in random_texts(12)]
    corpus = write_corpus(tmp_path, texts)
    learn = {"data": {"batch_size": 4}, "optimizer": {"learning_rate": 0.02}, "train": {"epochs": 40}}
    run = train(recipe(corpus, tmp_path / "run", **learn)).directory
    write_arpa(tmp_path / "lm.arpa", build(texts, 2))
    with gzip.open(tmp_path / "counts.gz", "wt") as file:
        file.write("a\t3\n")
    command = [sys.executable, BENCHMARKS / "hotwords.py", run / "last", corpus, "--weights", 4, 8,
               "--lm", tmp_path / "lm.arpa", "--counts", tmp_path / "counts.gz"]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for table in done.stdout.strip().split("\n\n"):
        title, _, *rows = table.splitlines()
        count = int(re.search(r"(\d+) of \d+ names misheard", title)[1])
        assert 1 <= count <= 12
        assert [row[:14].split() for row in rows] == [
            [*model, weight] for model in (["no", "LM"], ["LM"]) for weight in ("none", "4.0", "8.0")
        ]
        for row in rows:
            (known, of_known), (new, of_new) = re.findall(r"(\d+) of (\d+)", row)
            assert int(of_known) + int(of_new) == count
            assert int(known) + int(new) <= (0 if row.startswith("no LM    none") else count)
