"""Every format there and back, found by its content; and what is refused leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from foreign_models import (
    CITRINET,
    JASPER,
    QUARTZNET,
    STREAMING,
    SUBWORDS,
    assert_same_model,
    model_config,
    write_model,
)

from jasper.config import BlockConfig
from jasper.convert import FORMATS, convert, kind_of
from jasper.convert.nemo_yaml import NEMO_FIXED
from jasper.convert.nvidia_yaml import NVIDIA_FIXED
from jasper.engines import load_engine
from jasper.errors import CheckpointError, ModelError

SPLICED = {
    "num_mels": 20,
    "exact_pad": True,
    "frame_splicing": 2,
    "normalize": "fixed",
    "fixed_mean": tuple(map(float, range(40))),
    "fixed_std": (2.0,) * 40,
}
CAUSAL = (BlockConfig(filters=12, kernel=5, future_context=0),)
COMMAND = Path(sys.executable).with_name("jasper")
GOLDEN_FILES = {
    "nvidia_jasper.pt": "nvidia",
    "nvidia_jasper_v1.pt": "nvidia",
    "nemo_jasper.nemo": "nemo",
    "nemo_quartznet.nemo": "nemo",
    "mindspore_jasper.ckpt": "mindspore",
}
ODD_FRONT_END = {
    "sample_rate": 22050,
    "window_ms": 1000 * 551 / 22050,  # 25 ms cut to whole samples
    "hop_ms": 1000 * 220 / 22050,
    "n_fft": 1024,
    "num_mels": 80,
    "fmin": 20.0,
    "fmax": 7600.0,
    "preemphasis": 0.9,
    "window": "hamming",
    "dither": 0.0,
    "normalize": "all_features",
}
NEMO_ONLY = {"log_guard": "clamp", "log_offset": 1e-6, "power": 1.0, "mel_norm": "none"}


@pytest.mark.parametrize(("name", "kind"), list(GOLDEN_FILES.items()))
def test_a_kind_is_found_whatever_the_file_is_called(golden, tmp_path, name, kind):
    renamed = tmp_path / "weights.bin"
    renamed.write_bytes((golden / name).read_bytes())
    assert kind_of(renamed) == kind
    load_engine(convert(renamed, tmp_path / "out"))


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"hello", b"{}"])
def test_a_file_of_no_kind_is_an_error(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pt: unknown kind"):
        convert(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_an_unknown_kind_are_errors(tmp_path):
    with pytest.raises(ModelError, match=r"none\.pt: No such file"):
        convert(tmp_path / "none.pt", tmp_path / "out")
    with pytest.raises(ModelError, match=r"'tensorflow' is no kind.*jasper, nvidia, nemo, mindspore"):
        convert(tmp_path, tmp_path / "out", kind="tensorflow")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "jasper"])
@pytest.mark.parametrize("name", list(GOLDEN_FILES))
def test_a_file_forced_to_be_another_kind_is_an_error(golden, tmp_path, name, kind):
    if GOLDEN_FILES[name] != kind:
        with pytest.raises(ModelError, match=name):
            convert(golden / name, tmp_path / "out", kind=kind)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("blocks", "text", "suffix", "features"),
    [
        (JASPER, None, ".pt", {**NVIDIA_FIXED}),
        (QUARTZNET, None, ".pt", {**NVIDIA_FIXED, **ODD_FRONT_END}),
        (JASPER, None, ".ckpt", {**NVIDIA_FIXED}),
        (JASPER, None, ".nemo", {**NEMO_FIXED}),
        (QUARTZNET, None, ".nemo", {**NEMO_FIXED, **ODD_FRONT_END}),
        (CITRINET, None, ".nemo", {**NEMO_FIXED, **ODD_FRONT_END, **NEMO_ONLY}),
        (CITRINET, SUBWORDS, ".nemo", {**NEMO_FIXED, "window_ms": 25.0, "num_mels": 80}),
        (STREAMING, None, ".nemo", {**NEMO_FIXED, **SPLICED}),
        (QUARTZNET, None, ".nemo", {**NEMO_FIXED, "log": False, "exact_pad": True, "preemphasis": 0.0}),
    ],
)
def test_there_and_back_is_bit_exact(tmp_path, blocks, text, suffix, features):
    model = write_model(tmp_path / "model", model_config(blocks, text, **features))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = convert(model, tmp_path / f"x{suffix}")
    config = {".pt": tmp_path / "x.yaml", ".ckpt": model / "config.yaml"}.get(suffix)
    assert_same_model(model, convert(file, tmp_path / "back", config=config))
    again = convert(tmp_path / "back", tmp_path / f"again{suffix}")
    if suffix == ".ckpt":
        assert again.read_bytes() == file.read_bytes()


def test_a_checkpoint_goes_from_toolkit_to_toolkit_without_a_stop(golden, tmp_path):
    with pytest.warns(UserWarning, match="front end is another: log_offset"):
        convert(golden / "nemo_jasper.nemo", tmp_path / "a.ckpt")
    convert(tmp_path / "a.ckpt", tmp_path / "b.pt")
    with pytest.warns(UserWarning, match="front end is another: frame_count"):
        convert(tmp_path / "b.pt", tmp_path / "c.nemo", config=tmp_path / "b.yaml")
    theirs = np.load(golden / "nemo_jasper.npz")
    log_probs, _ = load_engine(convert(tmp_path / "c.nemo", tmp_path / "m")).log_probs(
        theirs["features"][:1, :, :400], np.array([400])
    )
    expected, _ = load_engine(convert(golden / "nemo_jasper.nemo", tmp_path / "n")).log_probs(
        theirs["features"][:1, :, :400], np.array([400])
    )
    np.testing.assert_array_equal(log_probs, expected)


@pytest.mark.parametrize(
    ("blocks", "text", "suffix"),
    [
        (QUARTZNET, None, ".ckpt"),
        (CITRINET, None, ".ckpt"),
        (CITRINET, None, ".pt"),
        (CAUSAL, None, ".pt"),
        (CAUSAL, None, ".ckpt"),
        (QUARTZNET, SUBWORDS, ".pt"),
    ],
)
def test_a_network_that_a_toolkit_cannot_run_is_not_written(tmp_path, blocks, text, suffix):
    model = write_model(tmp_path / "model", model_config(blocks, text))
    with pytest.raises(ModelError, match=rf"x\{suffix}"):
        convert(model, tmp_path / f"x{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.filterwarnings("ignore:.*front end")
@pytest.mark.parametrize("name", ["x.pt", "x.nemo", "x.ckpt"])
def test_a_place_that_cannot_be_written_is_an_error(tmp_path, name):
    model = write_model(tmp_path / "model", model_config(JASPER))
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be written: No such file"):
        convert(model, tmp_path / "none" / name)


@pytest.mark.slow
def test_the_command_warns_of_another_front_end_on_one_line(tmp_path):
    model = write_model(tmp_path / "model", model_config(JASPER, log_offset=1e-3))
    done = subprocess.run(
        [COMMAND, "convert", model, tmp_path / "x.pt"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "x.pt"))
    assert (
        done.stderr
        == "jasper: warning: NVIDIA's front end is another: log_offset is 1e-20 there, 0.001 here\n"
    )
