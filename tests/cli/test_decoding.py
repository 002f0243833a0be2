"""The options of the search and `jasper lm`, through the command line, on a model that was trained here."""

import json

import pytest
from tones import assert_fault, run_jasper


@pytest.fixture(scope="module")
def lm(tmp_path_factory, corpus):
    """A model of the corpus's own texts, as ARPA and binary."""
    folder = tmp_path_factory.mktemp("lm")
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    (folder / "text.txt").write_text("\n".join(texts))
    for name in ("model.arpa", "model.bin"):
        done = run_jasper(
            "lm", "build", folder / "text.txt", "--order", "2", "--out", folder / name, "--json"
        )
        assert len(json.loads(done.stdout)["num_ngrams"]) == 2
    return folder


def wer(run, corpus, *options):
    done = run_jasper("eval", run, corpus, "--json", *options)
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)["wer"]


def test_a_language_model_helps_a_network_that_has_not_learnt_everything(run, corpus, lm):
    greedy = wer(run, corpus)
    beam = wer(run, corpus, "--lm", lm / "model.bin", "--alpha", 1, "--beta", 0.5)
    assert greedy > 0
    assert beam < greedy


def test_what_has_no_evidence_is_not_said(run, corpus):
    audio = corpus.parent / json.loads(corpus.read_text().splitlines()[0])["audio_filepath"]
    plain, little, too_much = (
        run_jasper("transcribe", run, audio, "--json", "--words", "--evidence", least)
        for least in (0, 0.5, 1000)
    )
    assert json.loads(plain.stdout)["text"]
    assert little.stdout == plain.stdout
    assert json.loads(too_much.stdout)["text"] == ""
    assert json.loads(too_much.stdout)["words"] == []
    assert wer(run, corpus, "--evidence", 0.5) == wer(run, corpus)
    assert wer(run, corpus, "--evidence", 1000) == 1.0  # every word is left out
    assert wer(run, corpus, "--evidence", 1000, "--beam", 8) == 1.0


def test_arpa_and_binary_give_the_same(run, corpus, lm):
    audio = corpus.parent / json.loads(corpus.read_text().splitlines()[0])["audio_filepath"]
    outputs = [
        run_jasper("transcribe", run, audio, "--json", "--words", "--lm", lm / name)
        for name in ("model.arpa", "model.bin")
    ]
    first, second = (json.loads(done.stdout) for done in outputs)
    assert first["text"] == second["text"]
    assert first["score"] == pytest.approx(second["score"], abs=1e-4)
    assert " ".join(word["text"] for word in first["words"]) == first["text"]
    times = [time for word in first["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= first["duration"] + 0.05
    assert all(0 <= word["confidence"] <= 1 for word in first["words"])


def test_a_lexicon_and_hotwords_decide_which_words_there_are(run, corpus, tmp_path):
    audio = corpus.parent / json.loads(corpus.read_text().splitlines()[0])["audio_filepath"]
    (tmp_path / "words.txt").write_text("abba\ndead\n")
    only = run_jasper("transcribe", run, audio, "--lexicon", tmp_path / "words.txt", "--beam", 20)
    assert set(only.stdout.split()) <= {"abba", "dead"}
    loud = run_jasper("transcribe", run, audio, "--hotword", "bead=300", "--decode", "cutoff_prob=1")
    assert "bead" in loud.stdout.split()


def test_perplexity_is_lower_on_the_text_that_the_model_is_of(lm, tmp_path):
    (tmp_path / "other.txt").write_text("bead dead\ncab")
    own, other = (
        json.loads(run_jasper("lm", "perplexity", lm / "model.bin", text, "--json").stdout)
        for text in (lm / "text.txt", tmp_path / "other.txt")
    )
    assert own["perplexity"] < other["perplexity"]
    assert (own["num_unknown"], other["num_words"]) == (0, 5)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--beam", "0"], ["beam_width"]),
        (["--lm", "nowhere.arpa"], ["nowhere.arpa: cannot be read"]),
        (["--decode", "beam=3"], ["beam: unknown key; known are"]),
        (["--decode", "prune"], ["an override is"]),
        (["--hotword", "a=b"], ["'b' is no weight"]),
        (["--hotword", "xyz"], ["not among the labels"]),
        (["--hotwords", "nowhere.txt"], ["nowhere.txt: cannot be read"]),
        (["--lexicon", "nowhere.txt"], ["nowhere.txt: cannot be read"]),
    ],
)
def test_an_option_that_cannot_be_used(run, corpus, options, parts):
    assert_fault(run_jasper("eval", run, corpus, *options), *parts)


def test_a_model_or_text_that_cannot_be_used(lm, tmp_path):
    out = ("--out", tmp_path / "x.bin")
    assert_fault(run_jasper("lm", "build", tmp_path / "no.txt", *out), "no.txt: cannot be read")
    assert_fault(run_jasper("lm", "build", lm / "text.txt", *out, "--prune", "a"), "--prune a")
    (tmp_path / "empty.txt").write_text("\n")
    assert_fault(run_jasper("lm", "perplexity", lm / "model.bin", tmp_path / "empty.txt"), "no words")


def test_tuned_weights_give_the_wer_that_was_promised(run, corpus, lm, tmp_path):
    ranges = ["--alphas", "0:2:1", "--betas=-0.5:0.5:0.5", "--unknowns=-10:-5:5"]
    page = tmp_path / "surface.html"
    done = run_jasper("lm", "tune", run, corpus, "--lm", lm / "model.bin", *ranges, "--out", page, "--json")
    assert done.code == 0, done.stderr
    tuned = json.loads(done.stdout)
    assert (tuned["alphas"], tuned["betas"]) == ([0, 1, 2], [-0.5, 0, 0.5])
    assert tuned["best_wer"] <= min(map(min, tuned["wer"])) < tuned["greedy_wer"]
    assert wer(run, corpus, *tuned["options"].split()) == pytest.approx(tuned["best_wer"])
    assert tuned["greedy_wer"] == pytest.approx(wer(run, corpus))
    assert f"{100 * tuned['wer'][1][2]:.1f}" in page.read_text()


def test_what_cannot_be_tuned(run, corpus, lm):
    tune, model = ("lm", "tune", run, corpus), ("--lm", lm / "model.bin")
    assert_fault(run_jasper(*tune), "--lm: say which")
    assert_fault(run_jasper(*tune, *model, "--alphas=-1:0:1"), "a weight below 0")
    for text in ("0:1:0", "0:1:0.001", "a:b"):
        assert_fault(run_jasper(*tune, *model, f"--betas={text}"), f"--betas {text}: give FIRST:LAST:STEP")


def test_a_fitted_calibration_makes_confidences_true(run, corpus, tmp_path):
    page = tmp_path / "reliability.html"
    done = run_jasper("calibrate", run, corpus, "--out", page, "--json")
    assert done.code == 0, done.stderr
    first = json.loads(done.stdout)
    again = json.loads(run_jasper("calibrate", run, corpus, "--json", *first["options"].split()).stdout)
    assert again["ece"] == pytest.approx(first["fitted_ece"], abs=0.02)
    assert again["confidence"] == pytest.approx(again["right"], abs=0.05)
    assert "confidence" in page.read_text()
    audio = corpus.parent / json.loads(corpus.read_text().splitlines()[0])["audio_filepath"]
    plain, sure = (
        json.loads(run_jasper("transcribe", run, audio, "--json", "--words", *options).stdout)["words"]
        for options in ([], ["--decode", "search=greedy", "--decode", "calibration=[1,5]"])
    )
    assert [word["text"] for word in plain] == [word["text"] for word in sure]
    assert all(one["confidence"] < two["confidence"] for one, two in zip(plain, sure, strict=True))
