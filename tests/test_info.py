"""What `jasper info` says of presets and of model directories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import small_config, write_small_model

from jasper.bundle import write_bundle
from jasper.config import ENGLISH_LABELS
from jasper.errors import JasperError, ModelError
from jasper.info import model_info
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import load_config

JASPER = Path(sys.executable).with_name("jasper")


@pytest.mark.slow
def test_the_command_says_what_jasper10x5dr_is():
    done = subprocess.run(
        [JASPER, "info", "jasper10x5dr", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    raw = json.loads(done.stdout)
    assert raw["parameters"] == 332_632_349  # NVIDIA's code, 29 classes
    assert raw["labels"] == list(ENGLISH_LABELS)
    assert (raw["stride"], raw["step_ms"], raw["sample_rate"]) == (2, 20.0, 16000)
    assert len(raw["blocks"]) == 8


def test_a_model_directory_says_what_its_preset_says(tmp_path):
    config = load_config("tiny").model
    directory = write_bundle(tmp_path / "m", config, network_weights(build_network(config)))
    preset, model = model_info("tiny"), model_info(directory)
    assert preset.pop("name") == "tiny"
    assert model.pop("name") == str(directory)
    assert model == preset


def test_parameters_are_torchs_count_without_running_statistics(tmp_path):
    directory = write_small_model(tmp_path / "m")
    expected = sum(p.numel() for p in build_network(small_config()).parameters())
    assert model_info(directory)["parameters"] == expected


def test_it_is_json(tmp_path):
    for name in ("tiny", str(write_small_model(tmp_path / "m"))):
        assert json.loads(json.dumps(model_info(name), allow_nan=False)) == json.loads(
            json.dumps(model_info(name))
        )


@pytest.mark.parametrize("name", ["no-such-model", ""])
def test_what_is_neither_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        model_info(name)


def test_damaged_weights_are_an_error(tmp_path):
    directory = write_small_model(tmp_path / "m")
    (directory / "model.safetensors").write_bytes(b"no")
    with pytest.raises(JasperError, match="cannot be read as safetensors"):
        model_info(directory)
