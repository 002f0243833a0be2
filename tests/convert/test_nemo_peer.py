"""Citrinets that NeMo makes, and models that it restores from what is written here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from foreign_models import (
    CITRINET,
    QUARTZNET,
    STREAMING,
    SUBWORDS,
    assert_same_model,
    model_config,
    write_model,
)

import jasper
from jasper.convert import convert
from jasper.convert.nemo_yaml import NEMO_FIXED

TOLERANCE = 2e-3  # from the wave: golden/README.md
TEXTS = ("the quick brown fox", "seven dog dogs", "wizards while over a box")  # of nemo_peer.py

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def peer(nemo_python, golden, tmp_path_factory) -> Path:
    """A folder in which NeMo ran: our models `ours_*`, its Citrinets, and an .npz of each."""
    folder = tmp_path_factory.mktemp("peer")
    theirs = np.load(golden / "nemo_jasper.npz")
    np.savez(folder / "waves.npz", wave0=theirs["wave0"][:60000], wave1=theirs["wave1"][:41234])
    convert(convert(golden / "nemo_jasper.nemo", folder / "ours_jasper"), folder / "ours_jasper.nemo")
    write_model(
        folder / "ours_quartznet", model_config(QUARTZNET, num_mels=40, sample_rate=8000, **NEMO_FIXED)
    )
    write_model(folder / "ours_streaming", model_config(STREAMING, **NEMO_FIXED, log=False))
    write_model(folder / "ours_citrinet", model_config(CITRINET, SUBWORDS, window_ms=25.0, **NEMO_FIXED))
    for name in ("ours_quartznet", "ours_citrinet", "ours_streaming"):
        convert(folder / name, folder / f"{name}.nemo")
    script = Path(__file__).with_name("nemo_peer.py")
    done = subprocess.run([nemo_python, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", ["ours_jasper", "ours_quartznet", "ours_citrinet", "ours_streaming"])
def test_nemo_restores_what_is_written_here(peer, name):
    compare(peer, name, jasper.load(peer / name))


@pytest.mark.parametrize("name", ["unigram", "bpe", "spliced", "silenced"])
def test_a_citrinet_of_nemo_gives_nemos_log_probs_text_and_tokens(peer, name):
    model = jasper.load(convert(peer / f"{name}.nemo", peer / f"{name}_model"))
    compare(peer, name, model)
    theirs = np.load(peer / f"{name}.npz")
    for number, text in enumerate(TEXTS):
        assert model.tokenizer.encode(text) == theirs[f"tokens{number}"].tolist()


@pytest.mark.parametrize("name", ["unigram", "bpe", "spliced"])
def test_a_citrinet_of_nemo_comes_back_bit_exact(peer, tmp_path, name):
    directory = convert(peer / f"{name}.nemo", tmp_path / "m")
    shutil.copy(convert(directory, tmp_path / "x.nemo"), tmp_path / "copy.nemo")
    assert_same_model(directory, convert(tmp_path / "copy.nemo", tmp_path / "back"))


def compare(folder: Path, name: str, model: jasper.Model) -> None:
    theirs = np.load(folder / f"{name}.npz")
    with np.load(folder / "waves.npz") as content:
        waves = [content["wave0"], content["wave1"]]
    for row, recognition in enumerate(model.recognize(waves)):
        np.testing.assert_allclose(recognition.log_probs, theirs[f"alone{row}"], atol=TOLERANCE, rtol=0)
        if f"text{row}" in theirs:
            text = model.tokenizer.decode(recognition.hypothesis.tokens).strip()
            assert text == str(theirs[f"text{row}"]).strip()
