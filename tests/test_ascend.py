"""The three steps of a card, the exported graph in place of the card: the score is that of `jasper eval`."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import soundfile
from small_networks import write_small_model

import jasper
from jasper.ascend import postprocess, preprocess
from jasper.errors import ManifestError, ModelError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Five recordings of unlike length, one of them of 0.3 s."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    lines = []
    for index, seconds in enumerate((1.3, 0.3, 2.2, 0.9, 1.7)):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.standard_normal(int(seconds * 16000)), 16000)
        lines.append({"audio_filepath": f"{index}.wav", "duration": seconds, "text": "a b c"})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(*arguments):
    """What a command prints."""
    command = [sys.executable, "-m", "jasper", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_the_card(graph, folder):
    """Step 2: what launch/ascend/infer.cc does, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for line in (folder / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
        name = folder / row["name"]
        features = np.fromfile(f"{name}.features.bin", "<f4").reshape(row["shape"])
        lengths = np.fromfile(f"{name}.lengths.bin", "<i4")
        log_probs, steps = session.run(None, {"features": features, "lengths": lengths.astype(np.int64)})
        log_probs.astype("<f4").tofile(f"{name}.log_probs.bin")
        steps.astype("<i4").tofile(f"{name}.steps.bin")


@pytest.mark.parametrize("options", [(), ("--batch-size", "2"), ("--batch-size", "3", "--frames", "400")])
def test_three_steps_score_as_eval_does(model, manifest, tmp_path, options):
    """The zoo's lengths were floats, and the last word of every hypothesis was cut off to hide it."""
    graph = jasper.export(model, out=tmp_path / "x.onnx").path
    folder = tmp_path / "files"
    run("ascend", "preprocess", model, manifest, "--out", folder, *options)
    run_the_card(graph, folder)
    found = run("ascend", "postprocess", model, folder, manifest, "--out", tmp_path / "x.jsonl", "--json")
    scores = tmp_path / "scores"
    assert json.loads(found) == json.loads(run("eval", model, manifest, "--out", scores, "--json"))
    assert (tmp_path / "x.jsonl").read_text() == (scores / "utterances.jsonl").read_text()


def test_results_that_do_not_fit_are_refused(model, manifest, tmp_path):
    loaded, utterances = jasper.load(model), jasper.read_manifest(manifest)
    preprocess(loaded, utterances, tmp_path, batch_size=2)
    with pytest.raises(ModelError, match=r"00000\.steps\.bin: No such file .* was the program run"):
        postprocess(loaded, utterances, tmp_path)
    run_the_card(jasper.export(model, out=tmp_path / "x.onnx").path, tmp_path)
    with pytest.raises(ManifestError, match="not those of the manifest"):
        postprocess(loaded, utterances[:-1], tmp_path)
    steps = tmp_path / "00001.steps.bin"
    (np.fromfile(steps, "<i4") + 1).tofile(steps)
    with pytest.raises(ModelError, match=r"00001\.steps\.bin: \["):
        postprocess(loaded, utterances, tmp_path)
    log_probs = tmp_path / "00000.log_probs.bin"
    log_probs.write_bytes(log_probs.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"00000\.log_probs\.bin: has \d+ numbers, not the"):
        postprocess(loaded, utterances, tmp_path)


def test_results_of_an_earlier_run_are_not_scored(model, manifest, tmp_path):
    """They have the size of those of any model with the same strides and labels."""
    loaded, utterances = jasper.load(model), jasper.read_manifest(manifest)
    preprocess(loaded, utterances, tmp_path / "files")
    run_the_card(jasper.export(model, out=tmp_path / "x.onnx").path, tmp_path / "files")
    postprocess(loaded, utterances, tmp_path / "files")
    preprocess(loaded, utterances, tmp_path / "files")
    with pytest.raises(ModelError, match=r"00000\.steps\.bin: No such file"):
        postprocess(loaded, utterances, tmp_path / "files")


def test_an_utterance_longer_than_the_fixed_shape_is_named(model, manifest, tmp_path):
    with pytest.raises(ModelError, match="has 220 frames, more than --frames 200"):
        preprocess(jasper.load(model), jasper.read_manifest(manifest), tmp_path, frames=200)
