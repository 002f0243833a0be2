"""A training that has heard noise without a transcript says nothing where there is noise."""

import json

import numpy as np
import pytest
import soundfile
from tones import SAMPLE_RATE, log_rows, recipe

from jasper.model import load
from jasper.train import train


def write_chirps(folder, seeds, name):
    """Rising and falling tones through all that the letters have: noise that is much like speech here."""
    lines = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        hertz = 1500 + 1200 * np.sin(np.cumsum(rng.uniform(4, 14, 12000)) / SAMPLE_RATE * 2 * np.pi)
        wave = 0.3 * np.sin(2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE)
        soundfile.write(folder / f"{name}-{seed}.wav", wave, SAMPLE_RATE)
        lines.append({"audio_filepath": f"{name}-{seed}.wav", "duration": 1.5, "text": ""})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_noise_that_was_never_heard_gives_text_only_where_training_had_none(
    corpus, dev, tmp_path, probability
):
    noise = write_chirps(tmp_path, range(6), "chirp")
    other = write_chirps(tmp_path, range(10, 16), "other")
    config = recipe(
        corpus,
        tmp_path / "run",
        data={"dev": [str(dev)]},
        augment={"noise": [str(noise)], "noise_probability": 0, "noise_only_probability": probability},
        train={"epochs": 25, "eval_epochs": 25},
    )
    train(config)
    assert log_rows(tmp_path / "run", "dev_cer")[-1]["dev_cer"] < 0.1
    model = load(tmp_path / "run" / "last", engine="torch")
    lines = [json.loads(line) for line in other.read_text().splitlines()]
    said = [model.transcribe(tmp_path / line["audio_filepath"]).text for line in lines]
    assert all(text == "" for text in said) == (probability > 0), said
