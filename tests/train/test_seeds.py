"""Several seeds from one command: a run each, and what they have in common."""

import json

import numpy as np
import pytest
from tones import Command, assert_fault, assert_same_run, log_rows, recipe, run_jasper, write_recipe

from jasper.errors import ConfigError
from jasper.train import train
from jasper.train.checkpoint import list_checkpoints
from jasper.train.seeds import parse_seeds


def test_a_run_each_that_is_the_run_of_that_seed_alone(tmp_path, corpus, dev):
    sections = {"data": {"dev": [str(dev)]}, "train": {"epochs": 4}}
    out = tmp_path / "out"
    file = write_recipe(tmp_path / "recipe.yaml", corpus, out, **sections)
    finished = run_jasper("train", file, "--seeds", "0,3,4", "--json")
    assert finished.code == 0, finished.stderr
    printed = json.loads(finished.stdout)
    assert printed == json.loads((out / "seeds.json").read_text())
    assert [row["seed"] for row in printed["runs"]] == [0, 3, 4]
    train(recipe(corpus, tmp_path / "alone", **{**sections, "train": {"epochs": 4, "seed": 3}}))
    assert_same_run(out / "seed-3", tmp_path / "alone")
    for key in ("dev_wer", "dev_cer", "dev_loss"):
        values = [row[key] for row in printed["runs"]]
        assert printed["summary"][key]["mean"] == pytest.approx(np.mean(values), abs=1e-12)
        assert printed["summary"][key]["deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert values[0] in [row[key] for row in log_rows(out / "seed-0", key)]
    page = (out / "seeds.html").read_text()
    assert page.count("<svg") == 2
    wer = printed["summary"]["dev_wer"]
    assert f"{100 * wer['mean']:.2f} % ± {100 * wer['deviation']:.2f} %" in page
    again = run_jasper("train", file, "--seeds", "0,3,4")
    assert again.code == 0
    assert "mean ± SD" in again.stdout


def test_what_was_stopped_goes_on_and_what_is_finished_stays(tmp_path, corpus):
    out, settings = tmp_path / "out", {"epochs": 40, "eval_epochs": 40}
    file = write_recipe(tmp_path / "recipe.yaml", corpus, out, train=settings)
    command = Command("train", file, "--seeds", "2")
    command.wait_for(lambda: len(log_rows(out / "seed-1", "loss")) > 5)
    command.process.terminate()
    finished = command.finish()
    assert finished.code == 143
    assert "to go on: jasper train" in finished.faults[-1]
    assert "--seeds 2" in finished.faults[-1]
    written = list_checkpoints(out / "seed-0" / "checkpoints")[0].stat().st_mtime_ns
    assert run_jasper("train", file, "--seeds", "2").code == 0
    assert list_checkpoints(out / "seed-0" / "checkpoints")[0].stat().st_mtime_ns == written
    train(recipe(corpus, tmp_path / "alone", train={**settings, "seed": 1}))
    assert_same_run(out / "seed-1", tmp_path / "alone")
    rows = json.loads((out / "seeds.json").read_text())
    assert rows["summary"] == {}  # no dev set


@pytest.mark.parametrize(("text", "seeds"), [("3", [0, 1, 2]), ("7,5", [7, 5]), ("4,", None), ("0", None)])
def test_seeds_are_named_or_counted(text, seeds):
    if seeds is None:
        with pytest.raises(ConfigError, match=f"--seeds {text}"):
            parse_seeds(text)
    else:
        assert parse_seeds(text) == seeds


def test_seeds_that_cannot_be_used(tmp_path, corpus):
    file = write_recipe(tmp_path / "recipe.yaml", corpus, tmp_path / "out")
    for text in ("some", "1,1", "-1,2"):
        assert_fault(run_jasper("train", file, f"--seeds={text}"), f"--seeds {text}")
    assert not (tmp_path / "out").exists()
