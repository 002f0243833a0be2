"""What `jasper calibrate --save` keeps beside a model's weights holds for all commands; weights stay."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from tones import SAMPLE_RATE, assert_fault, random_texts, recipe, run_jasper, write_corpus

from jasper.bundle import read_calibration, write_calibration
from jasper.config import CalibrationConfig
from jasper.recipe import load_config
from jasper.train import train


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Manifest of 40 utterances, of 80 words."""
    return write_corpus(tmp_path_factory.mktemp("speech"), random_texts(40))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, speech):
    """The best model of a training that heard noise without a transcript."""
    folder = tmp_path_factory.mktemp("trained")
    soundfile.write(
        folder / "noise.wav", 0.1 * np.random.default_rng(5).standard_normal(10 * SAMPLE_RATE), SAMPLE_RATE
    )
    row = {"audio_filepath": "noise.wav", "duration": 10.0, "text": ""}
    (folder / "noise.jsonl").write_text(json.dumps(row) + "\n")
    return train(
        recipe(
            speech,
            folder / "run",
            data={"dev": [str(speech)], "batch_size": 4},
            augment={"noise": [str(folder / "noise.jsonl")], "noise_only_probability": 0.3},
            train={"epochs": 20, "eval_epochs": 20, "calibrate": False},
        )
    ).directory


@pytest.fixture
def model(trained, tmp_path):
    """A copy of its directory."""
    return shutil.copytree(trained / "best", tmp_path / "model")


@pytest.fixture
def few(speech, tmp_path):
    """Ten of the utterances, of 24 words."""
    rows = [json.loads(line) for line in speech.read_text().splitlines()[:10]]
    for row in rows:
        row["audio_filepath"] = str(speech.parent / row["audio_filepath"])
    manifest = tmp_path / "few.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Files of four chirps a second, somewhere between the pitches of the letters."""
    folder, time = tmp_path_factory.mktemp("noises"), np.arange(SAMPLE_RATE) / SAMPLE_RATE
    paths = [folder / f"{seed:02d}.wav" for seed in range(24)]
    for seed, path in enumerate(paths):
        rng = np.random.default_rng(seed)
        wave = 0.003 * rng.standard_normal(time.size)
        for start, hertz in zip(rng.uniform(0.05, 0.85, 4), rng.uniform(200, 3800, 4), strict=True):
            inside = (time >= start) & (time < start + 0.08)
            wave[inside] += 0.3 * np.sin(2 * np.pi * hertz * time[inside]) * np.hanning(inside.sum())
        soundfile.write(path, wave, SAMPLE_RATE)
    return paths


def transcripts(model, paths, *options):
    done = run_jasper("transcribe", model, *paths, "--json", "--words", *options)
    assert done.code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def texts(model, paths, *options):
    return [row["text"] for row in transcripts(model, paths, *options)]


def emptied(before, after):
    """How many texts are empty now; the others are as they were."""
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    assert not any(changed)
    return len(changed)


def calibrate(model, manifest, *options):
    done = run_jasper("calibrate", model, manifest, "--json", *options)
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_calibrated_model_says_less_of_noise_and_the_same_of_speech(model, speech, noises):
    said = [speech.parent / json.loads(line)["audio_filepath"] for line in speech.read_text().splitlines()]
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    before, noise_before = transcripts(model, said), texts(model, noises)
    assert calibrate(model, speech)["evidence"] > 0
    assert {path.name: path.read_bytes() for path in model.iterdir()} == files  # it only measured

    fitted = calibrate(model, speech, "--save")
    assert {path.name: path.read_bytes() for path in model.iterdir()} == {
        **files,
        "calibration.yaml": (model / "calibration.yaml").read_bytes(),
    }
    after, noise_after = transcripts(model, said), texts(model, noises)
    speech_before, speech_after = ([row["text"] for row in rows] for rows in (before, after))
    lost = emptied(speech_before, speech_after)
    assert lost == 0  # each utterance that was right has as much
    assert emptied(noise_before, noise_after) > lost

    explicit = ["--evidence", str(fitted["evidence"])]
    assert texts(model, noises, "--evidence", "0") == noise_before
    assert texts(model, noises, "--beam", "8") == texts(model, noises, "--beam", "8", *explicit)
    silenced = run_jasper("eval", model, speech, "--json", "--evidence", "1000")
    assert json.loads(silenced.stdout)["wer"] == 1.0
    assert calibrate(model, speech)["evidence"] == fitted["evidence"]  # measured as if there were none


def test_confidences_are_the_calibrated_ones_unless_others_are_asked_for(model, speech):
    fitted = calibrate(model, speech, "--save")
    again = calibrate(model, speech)
    assert again["ece"] == pytest.approx(fitted["fitted_ece"])
    plain = calibrate(model, speech, "--decode", "search=greedy", "--decode", "calibration=[1,0]")
    assert plain["ece"] == pytest.approx(fitted["ece"])


def test_info_says_what_a_model_keeps(model, speech):
    untouched = {"evidence": 0.0, "confidence": [1.0, 0.0]}
    assert json.loads(run_jasper("info", model, "--json").stdout)["calibration"] == untouched
    fitted = calibrate(model, speech, "--save")
    kept = {"evidence": fitted["evidence"], "confidence": fitted["fitted"]}
    assert json.loads(run_jasper("info", model, "--json").stdout)["calibration"] == kept


def test_a_run_keeps_it_in_its_best_model_and_other_weights_do_not_inherit_it(trained, speech, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    calibrate(run, speech, "--save")
    assert (run / "best" / "calibration.yaml").is_file()
    done = run_jasper("average", run / "best", run / "last", "--out", tmp_path / "mean")
    assert done.code == 0, done.stderr
    assert read_calibration(tmp_path / "mean") == CalibrationConfig()
    assert run_jasper("convert", run, tmp_path / "copy").code == 0  # the same weights, elsewhere
    assert read_calibration(tmp_path / "copy") == read_calibration(run / "best") != CalibrationConfig()


def test_a_training_calibrates_its_best_model_as_the_command_does_once(trained, speech, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    config = load_config(run / "config.yaml", [f"train.out={run}", "train.calibrate=true"])
    train(config)  # no step is left to do
    kept = read_calibration(run / "best")
    assert f"best is calibrated on dev: evidence {kept.evidence:.2f}" in capsys.readouterr().err
    assert kept != CalibrationConfig()
    by_hand = shutil.copytree(trained / "best", tmp_path / "by-hand")
    calibrate(by_hand, speech, "--save")
    again = read_calibration(by_hand)  # with another engine
    assert (again.evidence, *again.confidence) == pytest.approx((kept.evidence, *kept.confidence), abs=1e-3)

    write_calibration(run / "best", CalibrationConfig(evidence=1.5))
    train(config)
    assert read_calibration(run / "best").evidence == 1.5


def test_a_training_with_too_few_words_on_dev_says_so(trained, few, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    overrides = [f"train.out={run}", "train.calibrate=true", f"data.dev=[{few}]"]
    train(load_config(run / "config.yaml", overrides))
    assert "best is not calibrated: 24 words of dev are right, fewer than 50" in capsys.readouterr().err
    assert not (run / "best" / "calibration.yaml").exists()


def test_too_few_words_ask_for_no_evidence(model, few):
    assert calibrate(model, few)["evidence"] == 0
    done = run_jasper("calibrate", model, few, "--save")
    assert "--evidence 0: fewer than 50 words are right" in done.stdout
    assert done.stdout.splitlines()[-1] == f"kept in {model / 'calibration.yaml'}"
    assert read_calibration(model).evidence == 0


def test_a_failed_write_leaves_the_older_calibration(model, speech, monkeypatch):
    older = CalibrationConfig(evidence=2.5)
    write_calibration(model, older)
    names = {path.name for path in model.iterdir()}

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"calibration\.yaml: cannot be written: No space left on device"):
        write_calibration(model, CalibrationConfig())
    assert read_calibration(model) == older
    assert {path.name for path in model.iterdir()} == names


def test_what_cannot_be_written_or_read_is_named(model, speech):
    (model / "calibration.yaml").mkdir()
    assert_fault(
        run_jasper("calibrate", model, speech, "--save"),
        model / "calibration.yaml",
        "cannot be written: Is a directory",
    )
    assert not list(model.glob(".*"))
    (model / "calibration.yaml").rmdir()
    (model / "calibration.yaml").write_text("evidense: 3\n")
    assert_fault(run_jasper("eval", model, speech), "evidense: unknown key; known are evidence, confidence")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_named(model, speech):
    model.chmod(0o555)
    try:
        assert_fault(run_jasper("calibrate", model, speech, "--save"), "cannot be written: Permission denied")
    finally:
        model.chmod(0o755)
