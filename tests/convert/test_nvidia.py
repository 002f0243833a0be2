"""NVIDIA's checkpoints against the log-probabilities that its own code computed; and hostile files."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import jasper
from jasper.convert import convert
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES
from jasper.engines import load_engine
from jasper.errors import ConfigError, JasperError, ModelError

TOLERANCE = 1e-4  # golden/README.md
JASPER = Path(sys.executable).with_name("jasper")


@pytest.fixture(scope="module")
def theirs(golden) -> dict[str, np.ndarray]:
    return dict(np.load(golden / "nvidia_jasper.npz"))


@pytest.fixture
def checkpoint(golden) -> dict:
    """The contents of the golden checkpoint, to be spoilt."""
    return torch.load(golden / "nvidia_jasper.pt", weights_only=True)


@pytest.fixture
def converting(golden, tmp_path):
    """Save a checkpoint and convert it; nothing may be left behind where that fails."""

    def run(checkpoint: object, **options: object) -> Path:
        torch.save(checkpoint, tmp_path / "x.pt")
        try:
            return convert(
                tmp_path / "x.pt", tmp_path / "out", config=golden / "nvidia_jasper.yaml", **options
            )
        except JasperError:
            assert not (tmp_path / "out").exists()
            raise

    return run


@pytest.mark.parametrize(
    ("name", "ema", "expected"),
    [
        ("nvidia_jasper.pt", True, "ema_log_probs"),
        ("nvidia_jasper.pt", False, "log_probs"),
        ("nvidia_jasper_v1.pt", True, "log_probs"),  # has no averaged weights
        ("nvidia_jasper_v1.pt", False, "log_probs"),
    ],
)
def test_a_converted_model_gives_nvidias_log_probs(golden, theirs, tmp_path, name, ema, expected):
    directory = convert(golden / name, tmp_path / "m", config=golden / "nvidia_jasper.yaml", ema=ema)
    log_probs, lengths = load_engine(directory).log_probs(theirs["features"], theirs["lengths"])
    np.testing.assert_array_equal(lengths, theirs["out_lengths"])
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            log_probs[row, :length], theirs[expected][row, :length], atol=TOLERANCE, rtol=0
        )


def test_each_row_alone_gives_nvidias_log_probs_of_it_alone(golden, theirs, tmp_path):
    directory = convert(
        golden / "nvidia_jasper.pt", tmp_path / "m", config=golden / "nvidia_jasper.yaml", ema=False
    )
    engine = load_engine(directory)
    for row, length in enumerate(theirs["lengths"]):
        features = np.ascontiguousarray(theirs["features"][row : row + 1, :, :length])
        log_probs, out = engine.log_probs(features, np.array([length]))
        expected = theirs[f"alone{row}"]
        assert out.tolist() == [len(expected)]
        np.testing.assert_allclose(log_probs[0], expected, atol=TOLERANCE, rtol=0)


def test_averaged_weights_differ_and_are_the_default(golden, theirs):
    """Or the test of `ema` above would show nothing."""
    assert np.abs(theirs["ema_log_probs"] - theirs["log_probs"]).max() > 100 * TOLERANCE


def test_a_converted_model_has_nvidias_labels_and_front_end(golden, tmp_path):
    directory = convert(golden / "nvidia_jasper.pt", tmp_path / "m", config=golden / "nvidia_jasper.yaml")
    config = jasper.load(directory).config
    assert "".join(config.text.labels) == " abcdefghijklmnopqrstuvwxyz'"
    assert config.features == NVIDIA_FEATURES
    assert (config.features.log_offset, config.features.frame_count) == (1e-20, "ceil")


@pytest.mark.parametrize("ema", [True, False])
def test_what_is_written_has_the_names_and_numbers_of_nvidias_own_file(golden, checkpoint, tmp_path, ema):
    """Its code loads a state dict strictly, so no name may be missing and none may be more."""
    yaml_file = golden / "nvidia_jasper.yaml"
    directory = convert(golden / "nvidia_jasper.pt", tmp_path / "m", config=yaml_file, ema=ema)
    written = torch.load(convert(directory, tmp_path / "x.pt"), weights_only=True)
    theirs = checkpoint["ema_state_dict" if ema else "state_dict"]
    for state in ("state_dict", "ema_state_dict"):
        assert set(written[state]) == set(theirs)
        for name, value in theirs.items():
            found = written[state][name]
            assert (found.shape, found.dtype) == (value.shape, value.dtype), name
            assert name.endswith("num_batches_tracked") or torch.equal(found, value), name
    ours, original = (yaml.safe_load(path.read_text()) for path in (tmp_path / "x.yaml", yaml_file))
    assert ours["labels"] == original["labels"]
    assert ours["jasper"] == original["jasper"]


@pytest.mark.parametrize("state", ["state_dict", "ema_state_dict"])
def test_a_missing_weight_is_named(checkpoint, converting, state):
    del checkpoint[state]["encoder.layers.3.res.2.0.weight"]
    with pytest.raises(ModelError, match=r"encoder\.layers\.3\.res\.2\.0\.weight is missing"):
        converting(checkpoint, ema=state == "ema_state_dict")


def test_an_extra_weight_is_named(checkpoint, converting):
    checkpoint["state_dict"]["encoder.layers.9.conv.0.weight"] = torch.zeros(3)
    with pytest.raises(
        ModelError, match=r"1 keys have no place, such as encoder\.layers\.9\.conv\.0\.weight"
    ):
        converting(checkpoint, ema=False)


def test_a_misshapen_weight_is_named_with_both_shapes(checkpoint, converting):
    name = "encoder.layers.1.conv.0.weight"
    checkpoint["state_dict"][name] = checkpoint["state_dict"][name][:, :, :9]
    message = r"x\.pt: encoder\.layers\.1\.conv\.0\.weight has shape \(16, 16, 9\), not \(16, 16, 11\)"
    with pytest.raises(ModelError, match=message):
        converting(checkpoint, ema=False)


def test_names_of_parallel_training_are_understood(checkpoint, converting, theirs):
    state = {f"module.{name}": value for name, value in checkpoint["state_dict"].items()}
    engine = load_engine(converting({"state_dict": state}))
    log_probs, _ = engine.log_probs(theirs["features"][:1], theirs["lengths"][:1])
    np.testing.assert_allclose(log_probs[0], theirs["log_probs"][0], atol=TOLERANCE, rtol=0)


class Payload:
    """What an attacker puts into a pickle: code that runs while it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.mkdir, (self.marker,)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_pickle_with_code_is_refused_and_nothing_runs(golden, checkpoint, tmp_path, form):
    marker, source = tmp_path / "executed", tmp_path / "evil.pt"
    checkpoint["scaler"] = Payload(marker)
    if form == "pickle":
        source.write_bytes(pickle.dumps({"state_dict": Payload(marker)}, protocol=2))
        pickle.loads(source.read_bytes())
    else:
        torch.save(checkpoint, source, _use_new_zipfile_serialization=form == "zip")
        torch.load(source, weights_only=False)
    assert marker.is_dir()  # the payload is live: a careless reader runs it
    marker.rmdir()
    with pytest.raises(ModelError, match="not a readable PyTorch checkpoint"):
        convert(source, tmp_path / "out", config=golden / "nvidia_jasper.yaml")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", [0.0, 1e-5, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_an_error(golden, tmp_path, kept):
    content = (golden / "nvidia_jasper.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError, match=r"cut\.pt: (not a readable PyTorch|unknown kind of) checkpoint"):
        convert(tmp_path / "cut.pt", tmp_path / "out", config=golden / "nvidia_jasper.yaml")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [[1], {}, {"state_dict": [1]}, {"state_dict": {"a": 1}}, {"state_dict": {3: torch.zeros(1)}}]
)
def test_a_checkpoint_without_named_tensors_is_an_error(converting, content):
    with pytest.raises(ModelError, match=r"x\.pt"):
        converting(content)


@pytest.mark.parametrize(
    "text",
    [
        "labels: [a]",
        "jasper: [1]\nlabels: [a]",
        "jasper: {encoder: [1]}\nlabels: [a]",
        "jasper: {encoder: {blocks: [1]}}\nlabels: [a]",
        "jasper: {encoder: {blocks: [{filters: 3}]}}\nlabels: [a]",
        "jasper: {encoder: {blocks: [{filters: 3, kernel_size: [4]}]}}\nlabels: [a]",
        "jasper: {encoder: {blocks: [{filters: 3, kernel_size: [3]}]}}\nlabels: [1]",
        "not: [yaml",
    ],
)
def test_a_yaml_that_is_not_nvidias_is_an_error(golden, tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        convert(golden / "nvidia_jasper.pt", tmp_path / "out", config=tmp_path / "c.yaml")


@pytest.mark.slow
def test_the_command_converts_and_reports_on_one_line(golden, theirs, tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [JASPER, "convert", golden / "nvidia_jasper.pt", tmp_path / "m", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("--config", golden / "nvidia_jasper.yaml", "--no-ema")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(tmp_path / "m")
    log_probs, _ = load_engine(tmp_path / "m").log_probs(theirs["features"][:1], theirs["lengths"][:1])
    np.testing.assert_allclose(log_probs[0], theirs["log_probs"][0], atol=TOLERANCE, rtol=0)
