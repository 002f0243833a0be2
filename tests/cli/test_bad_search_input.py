"""Language models, texts and networks that cannot be searched with: one line says why, and nothing hangs."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file
from tones import SAMPLE_RATE, assert_fault, run_jasper

from jasper.lm import write_arpa, write_binary
from jasper.lm.build import build

TEXTS = ["abc dead", "bed cab abc", "dead bed"] * 3


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    """A model of words, as ARPA and binary."""
    folder = tmp_path_factory.mktemp("lm")
    model = build(TEXTS, 2)
    write_arpa(folder / "model.arpa", model)
    write_binary(folder / "model.bin", model)
    return folder


def changed(lm, path, change):
    path.write_text(change((lm / "model.arpa").read_text()))
    return path


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text[: text.index("2-grams:") + 40], "not an 2-gram"),
        (lambda text: text.replace("ngram 2=", "ngram 2=9"), "2-grams are announced"),
        (lambda text: text.replace("ngram 1=", "ngram 1=9"), "1-grams are announced"),
        (lambda text: text.replace("\\end\\", ""), "truncated"),
        (lambda text: text.replace("abc", "ABC").replace("dead", "DEAD").upper().replace("NGRAM", "ngram")
         .replace("\\DATA", "\\data").replace("-GRAMS", "-grams").replace("\\END", "\\end")
         .replace("<S>", "<s>").replace("</S>", "</s>"), "another alphabet or case"),
        (lambda text: text.replace("-0.", "nan", 1), "not numbers"),
        (lambda text: "", "no \\data\\ section"),
    ],
    ids=["half", "more 2-grams", "more 1-grams", "no end", "capitals", "not a number", "empty"],
)  # fmt: skip
def test_an_arpa_file_that_cannot_be_used(run, corpus, lm, tmp_path, change, part):
    assert_fault(run_jasper("eval", run, corpus, "--lm", changed(lm, tmp_path / "x.arpa", change)), part)


def test_a_binary_that_is_cut_off(run, corpus, lm, tmp_path):
    data = (lm / "model.bin").read_bytes()
    for size in (len(data) // 2, len(data) - 1, 20):
        (tmp_path / "x.bin").write_bytes(data[:size])
        assert_fault(run_jasper("eval", run, corpus, "--lm", tmp_path / "x.bin"), "x.bin")


def test_a_character_model_in_place_of_a_word_model_and_the_other_way_round(run, corpus, lm, tmp_path):
    """A model of letters is one of very short words: it works as one; words are no labels."""
    done = run_jasper("eval", run, corpus, "--lm", lm / "model.bin", "--decode", "lm_unit=character")
    assert_fault(done, "has none of the labels")
    write_arpa(tmp_path / "letters.arpa", build(["a b c", "d e a"], 2))
    assert run_jasper("eval", run, corpus, "--lm", tmp_path / "letters.arpa").code == 0


def test_a_network_that_computes_no_numbers(run, corpus, lm, tmp_path):
    shutil.copytree(run / "best", tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    name = next(name for name in weights if name.startswith("head") and weights[name].ndim > 1)
    weights[name][0] = np.nan
    save_file(weights, tmp_path / "broken" / "model.safetensors")
    done = run_jasper("eval", tmp_path / "broken", corpus, "--lm", lm / "model.bin")
    assert_fault(done, "not a number")


def test_recordings_that_are_empty_or_shorter_than_a_step(run, lm, tmp_path):
    for name, size in (("empty", 0), ("short", 40)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(size, np.float32), SAMPLE_RATE)
        done = run_jasper(
            "transcribe", run, tmp_path / f"{name}.wav", "--lm", lm / "model.bin", "--words", "--json"
        )
        assert done.code in (0, 2)
        if done.code:
            assert f"{name}.wav" in done.faults[0]
        else:
            assert json.loads(done.stdout)["text"] == ""
    (tmp_path / "text.txt").write_text("abc")
    done = run_jasper("align", run, tmp_path / "empty.wav", tmp_path / "text.txt")
    assert done.code == 2
    assert "Traceback" not in done.stderr


def test_weights_of_nothing(run, corpus, lm):
    model = ("--lm", lm / "model.bin")
    for options, part in (
        (["--beam", "0"], "beam_width"),
        ([*model, "--alpha=-1"], "alpha"),
        ([*model, "--decode", "prune=-1"], "prune"),
        ([*model, "--decode", "cutoff_prob=0"], "cutoff_prob"),
        ([*model, "--decode", "calibration=[1]"], "calibration"),
        ([*model, "--alpha", "nan"], "alpha"),
        ([*model, "--beta", "inf"], "beta"),
    ):
        assert_fault(run_jasper("eval", run, corpus, *options), part)
