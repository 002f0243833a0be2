"""`--engine mindspore` on the command line: what the PyTorch engine says, and no PyTorch loaded."""

import json
import subprocess
import sys

import numpy as np
import soundfile
from small_networks import write_small_model

import jasper
from jasper.config import EngineConfig
from jasper.convert import convert
from jasper.engines import load_engine


def run(*arguments):
    """The last line that a command prints."""
    command = [sys.executable, "-m", "jasper", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def recordings(folder):
    """Three recordings of unlike length and their manifest."""
    rng = np.random.default_rng(0)
    lines = []
    for index, seconds in enumerate((1.3, 0.6, 2.2)):
        wave = 0.1 * rng.standard_normal(int(seconds * 16000))
        soundfile.write(folder / f"{index}.wav", wave, 16000)
        lines.append({"audio_filepath": f"{index}.wav", "duration": seconds, "text": "a b c"})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def test_transcribe_and_eval_say_what_pytorch_says(tmp_path):
    model, manifest = write_small_model(tmp_path / "model"), recordings(tmp_path)
    for command in (("eval", model, manifest, "--json"), ("transcribe", model, tmp_path / "2.wav")):
        assert run(*command, "--engine", "mindspore") == run(*command, "--engine", "torch")


def test_no_pytorch_is_loaded(tmp_path):
    model = write_small_model(tmp_path / "model")
    code = (
        "import sys, numpy, jasper\n"
        f"model = jasper.load({str(model)!r}, engine='mindspore')\n"
        "model.transcribe(numpy.zeros(16000, numpy.float32))\n"
        "assert 'mindspore' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_model_zoos_checkpoint_gives_the_model_zoos_probabilities(golden, tmp_path):
    model = convert(
        golden / "mindspore_jasper.ckpt", tmp_path / "model", config=golden / "nvidia_jasper.yaml"
    )
    expected = np.load(golden / "mindspore_jasper.npz")
    log_probs, lengths = load_engine(model, EngineConfig(engine="mindspore", device="cpu")).log_probs(
        expected["features"].astype(np.float32), expected["lengths"].astype(np.int64)
    )
    for row, steps in enumerate(lengths):
        difference = np.exp(log_probs[row, :steps]) - expected["probs"][row, :steps]
        assert np.abs(difference).max() < 1e-4


def test_the_python_api_takes_the_engine(tmp_path):
    model = write_small_model(tmp_path / "model")
    wave = np.sin(np.arange(20000) / 7).astype(np.float32)
    assert jasper.load(model, "mindspore").transcribe(wave) == jasper.load(model, "torch").transcribe(wave)
