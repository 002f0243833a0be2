"""`--json` prints one JSON object a line on stdout, with the keys that programs rely on."""

import itertools
import json
import math

import numpy as np
import pytest
import yaml
from tones import LABELS, assert_fault, raw_recipe, run_jasper, write_corpus

import jasper
from jasper.bundle import read_model_config, read_weights, write_bundle


def strictly(text):
    """Parse one line of JSON; NaN and Infinity are none."""
    assert len(text.splitlines()) == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_eval_has_the_rates_and_all_counts(run, corpus):
    finished = run_jasper("eval", run, corpus, "--json")
    assert finished.code == 0
    found = strictly(finished.stdout)
    errors = found["substitutions"] + found["deletions"] + found["insertions"]
    assert found["utterances"] == 12
    assert found["words"] == sum(len(json.loads(line)["text"].split()) for line in corpus.open())
    assert found["wer"] == pytest.approx(errors / found["words"])
    assert 0 <= found["cer"] <= 1
    low, high = found["wer_interval"]
    assert low <= found["wer"] <= high


def test_eval_leaves_log_probabilities_that_spell_what_it_heard(run, corpus, tmp_path):
    finished = run_jasper("eval", run, corpus, "--out", tmp_path, "--log-probs")
    assert finished.code == 0, finished.stderr
    tokenizer = jasper.load(run).tokenizer
    rows = [json.loads(line) for line in (tmp_path / "utterances.jsonl").open()]
    assert len(rows) == len(list((tmp_path / "log_probs").iterdir())) == 12
    for row in rows:
        log_probs = np.load(tmp_path / "log_probs" / f"{row['id']}.npy")
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-5)
        path = [label for label, _ in itertools.groupby(log_probs.argmax(axis=1))]
        heard = tokenizer.decode(label for label in path if label != tokenizer.blank)
        assert heard.split() == row["hypothesis"].split()
    assert_fault(run_jasper("eval", run, corpus, "--log-probs"), "--log-probs: say with --out")


def test_eval_leaves_a_report_and_a_line_an_utterance(run, corpus, tmp_path):
    finished = run_jasper("eval", run / "best", corpus, "--out", tmp_path / "a" / "b")
    assert finished.code == 0
    assert "WER" in finished.stdout
    lines = (tmp_path / "a" / "b" / "utterances.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"train-{index:02d}" for index in range(12)]
    assert (tmp_path / "a" / "b" / "report.txt").read_text() == finished.stdout.removesuffix("\n")
    assert (tmp_path / "a" / "b" / "report.html").stat().st_size > 1000


def test_eval_of_joined_clips_has_every_word_once(run, corpus):
    alone = strictly(run_jasper("eval", run, corpus, "--json").stdout)
    joined = strictly(run_jasper("eval", run, corpus, "--join", "2:3", "--json").stdout)
    assert joined["words"] == alone["words"]
    assert joined["utterances"] < alone["utterances"]
    assert joined == strictly(run_jasper("eval", run, corpus, "--join", "2:3", "--json").stdout)


def test_train_has_the_directory_the_step_and_the_dev_score(tmp_path, corpus):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe(corpus, tmp_path / "run")))
    finished = run_jasper("train", file, "train.epochs=1", "--json")
    assert strictly(finished.stdout) == {"directory": str(tmp_path / "run"), "step": 6}
    finished = run_jasper("train", file, "train.epochs=2", f"data.dev=[{corpus}]", "--json")
    found = strictly(finished.stdout)
    assert found["step"] == 12
    assert {"dev_loss", "dev_wer", "dev_cer"} <= found.keys()


def test_a_dev_loss_that_does_not_exist_is_null(tmp_path, corpus):
    """No utterance that CTC can align, so no loss: NaN is no JSON, and the command ended in a traceback."""
    dev = write_corpus(tmp_path, ["ab"], "dev")
    dev.write_text(dev.read_text().replace('"ab"', '"' + "abcde" * 20 + '"'))
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(raw_recipe(corpus, tmp_path / "run", data={"dev": [str(dev)]})))
    finished = run_jasper("train", file, "train.epochs=1", "--json")
    assert finished.code == 0
    assert strictly(finished.stdout)["dev_loss"] is None


def test_transcribe_prints_an_object_a_file(run, corpus):
    files = [corpus.with_name(f"train-{index:02d}.wav") for index in range(2)]
    lines = run_jasper("transcribe", run, *files, "--json").stdout.splitlines()
    for line, file in zip(lines, files, strict=True):
        found = strictly(line)
        assert found["path"] == str(file)
        assert set(found["text"]) <= set(LABELS)
        assert found["duration"] > 0.3
        assert found["score"] < 0


def test_transcribe_of_one_file_prints_its_text_alone(run, corpus):
    file = corpus.with_name("train-00.wav")
    text = strictly(run_jasper("transcribe", run, file, "--json").stdout)["text"]
    assert run_jasper("transcribe", run, file).stdout == text + "\n"


def test_a_model_of_broken_weights_is_one_line(tmp_path, run, corpus):
    weights = {name: np.full_like(array, math.nan) for name, array in read_weights(run / "best").items()}
    model = write_bundle(tmp_path / "broken", read_model_config(run / "best"), weights)
    finished = run_jasper("transcribe", model, corpus.with_name("train-00.wav"), "--json")
    assert_fault(finished, "log_probs are not a number")


@pytest.mark.parametrize("preset", [False, True])
def test_info_tells_of_a_run_and_of_a_preset(run, preset):
    found = strictly(run_jasper("info", "tiny" if preset else run, "--json").stdout)
    keys = "name parameters labels normalizer sample_rate features stride step_ms blocks"
    assert set(keys.split()) <= found.keys()
    if not preset:
        assert found["parameters"] < 10_000
        assert (found["sample_rate"], found["stride"], found["step_ms"]) == (8000, 2, 20.0)
        assert found["labels"] == LABELS
