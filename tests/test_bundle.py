"""Model directories: what is written comes back, damage is named, and a failure harms nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import small_config, write_small_model

from jasper.bundle import (
    read_calibration,
    read_model_config,
    read_weights,
    stored_shapes,
    write_bundle,
    write_calibration,
)
from jasper.config import CalibrationConfig
from jasper.directory import CONFIG_FILE, WEIGHTS_FILE, find_bundle
from jasper.engines import load_engine
from jasper.errors import CheckpointError, ConfigError, ModelError


def files(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, hidden ones too, with its content."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.fixture
def model(tmp_path) -> Path:
    return write_small_model(tmp_path / "models" / "small")


def test_a_calibration_comes_back_and_goes_with_the_weights_that_it_was_of(model):
    assert read_calibration(model) == CalibrationConfig()  # an older directory has none
    kept = CalibrationConfig(evidence=3.87, confidence=(1.005, 0.36))
    before = files(model)
    assert files(write_calibration(model, kept).parent).items() >= before.items()
    assert read_calibration(model) == kept
    write_small_model(model, seed=1)
    assert read_calibration(model) == CalibrationConfig()


def test_config_and_weights_come_back(tmp_path):
    config = small_config(frame_count="floor", log_offset=1e-20)
    generator = np.random.default_rng(0)
    weights = {
        "a.weight": generator.standard_normal((3, 4, 5)).astype(np.float32),
        "b": np.arange(4, dtype=np.int64),
        "transposed": generator.standard_normal((3, 4)).astype(np.float32).T,
        "scalar": np.array(1.5, dtype=np.float32),
    }
    directory = write_bundle(tmp_path / "m", config, weights)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]
    assert sorted(p.name for p in directory.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    assert read_model_config(directory) == config
    read = read_weights(directory)
    assert read.keys() == weights.keys()
    for name, value in weights.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)
    assert stored_shapes(directory) == {name: value.shape for name, value in weights.items()}


def test_safetensors_own_library_reads_the_weights(model):
    from safetensors.torch import load_file

    theirs = load_file(model / WEIGHTS_FILE)
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(theirs[name].numpy(), value)


def test_a_model_is_found_at_its_place_and_in_a_training_run(tmp_path):
    assert find_bundle(write_small_model(tmp_path / "model")) == tmp_path / "model"
    run = tmp_path / "run"
    write_small_model(run / "last")
    (run / CONFIG_FILE).write_text("train: {}")  # a run has a configuration too, and no weights
    assert find_bundle(run) == run / "last"
    write_small_model(run / "best")
    assert find_bundle(str(run)) == run / "best"


def test_what_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(
        ModelError, match=r"nowhere: is not a directory; a model is a directory made by `jasper"
    ):
        find_bundle(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"has no config\.yaml and model\.safetensors"):
        find_bundle(tmp_path)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_half_a_model_is_none(model, name):
    (model / name).unlink()
    with pytest.raises(ModelError):
        find_bundle(model)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_weights_are_an_error_with_the_files_name(model, kept):
    path = model / WEIGHTS_FILE
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    for read in (read_weights, stored_shapes, load_engine):
        with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read as safetensors"):
            read(model)


def test_a_header_that_promises_too_much_is_an_error(model):
    path = model / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[:8] = (2**62).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        read_weights(model)


def test_weights_of_another_network_are_named(model):
    config = small_config()
    weights = read_weights(model)
    name = "blocks.1.residual_convs.0.weight"
    missing = {key: value for key, value in weights.items() if key != name}
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        load_engine(write_bundle(model, config, missing))
    with pytest.raises(ModelError, match="surplus is unknown"):
        load_engine(write_bundle(model, config, {**weights, "surplus": weights[name]}))
    with pytest.raises(ModelError, match=rf"{name} has shape \(24, 3, 1\), not \(24, 24, 1\)"):
        load_engine(write_bundle(model, config, {**weights, name: weights[name][:, :3]}))


def test_a_damaged_configuration_is_an_error_with_the_files_name(model):
    (model / CONFIG_FILE).write_text("network: {blocks: [{filters: 3, kernel: 3, colour: red}]}")
    with pytest.raises(ConfigError, match=r"small/config\.yaml: network\.blocks\.0\.colour: unknown key"):
        read_model_config(model)


def test_an_older_model_is_replaced_and_nothing_else_is_left(model):
    before = files(model.parent)
    write_small_model(model, seed=1)
    after = files(model.parent)
    assert after.keys() == before.keys()
    assert after[f"small/{WEIGHTS_FILE}"] != before[f"small/{WEIGHTS_FILE}"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "m").mkdir()
    assert find_bundle(write_small_model(tmp_path / "m")) == tmp_path / "m"


def test_a_folder_of_other_things_is_never_replaced(tmp_path):
    """`jasper convert x.pt ~/Documents` removed the folder and all that was in it."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_text("years")
    (tmp_path / "notes.txt").write_text("days")
    before = files(tmp_path)
    for place in ("documents", "notes.txt", "."):
        with pytest.raises(CheckpointError, match="something else than a model"):
            write_small_model(tmp_path / place)
    assert files(tmp_path) == before


# A real failure: the file system refuses what is larger than the limit, as a full disk does.
FAILING_WRITE = """
import resource, sys
import numpy as np
from safetensors.numpy import save_file
from jasper.bundle import read_model_config, write_bundle
from jasper.errors import CheckpointError
from pathlib import Path
target = Path(sys.argv[1])
config = read_model_config(target)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_bundle(target, config, {"a": np.zeros(1_000_000, dtype=np.float32)})
except CheckpointError as error:
    print(error)
"""


def test_a_failure_while_writing_leaves_the_old_model(model):
    before = files(model.parent)
    command = [sys.executable, "-c", FAILING_WRITE, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{model}: the model could not be written")
    assert files(model.parent) == before


def test_a_failure_while_moving_leaves_the_old_model(model, monkeypatch):
    """The old model is moved aside first: if the new one then cannot take its place, it comes back."""
    before = files(model.parent)
    move = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if (self / WEIGHTS_FILE).is_file() and self != model and Path(target) == model and not allowed:
            allowed.append(True)
            raise OSError(5, "Input/output error")
        return move(self, target)

    allowed: list[bool] = []
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(CheckpointError, match="Input/output error"):
        write_small_model(model, seed=1)
    assert allowed
    assert files(model.parent) == before
