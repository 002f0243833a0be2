"""Training and recognition on an Ascend card, for which `fake_npu.py` stands: a CPU's numbers, no CUDA."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from together import free_port
from tones import log_rows, run_jasper, write_recipe

from jasper.bundle import read_weights
from jasper.data.manifest import read_manifest
from jasper.train.checkpoint import list_checkpoints, read_whole

pytestmark = pytest.mark.slow

FAKE = Path(__file__).resolve().parents[1] / "fake_npu.py"
EXACT = {"features": {"dither": 0.0}}  # what is random on a card is not a CPU's


def on_a_card(*arguments, launcher=(), report=None):
    """What a command prints, on standard output, where PyTorch has a device npu."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "JASPER_NPU_REPORT": str(report or "")}
    command = [sys.executable, *launcher, FAKE, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses(run):
    return [row["loss"] for row in log_rows(run, "loss")]


@pytest.mark.parametrize("optimizer", ["adamw", "novograd"])
def test_a_card_makes_the_steps_of_a_cpu_and_goes_on_after_a_stop(corpus, tmp_path, optimizer):
    sections = {**EXACT, "optimizer": {"name": optimizer, "clip_norm": 1.0}}
    recipe = write_recipe(
        tmp_path / "r.yaml", corpus, tmp_path / "cpu", data={"dev": [str(corpus)]}, **sections
    )
    assert run_jasper("train", recipe).code == 0
    card = [recipe, "train.device=npu", f"train.out={tmp_path / 'npu'}"]
    if optimizer == "adamw":
        on_a_card("train", *card, "train.max_steps=7")
    on_a_card("train", *card, report=tmp_path / "report.json")
    np.testing.assert_allclose(losses(tmp_path / "npu"), losses(tmp_path / "cpu"), rtol=1e-3)
    one, other = (read_weights(tmp_path / name / "last") for name in ("npu", "cpu"))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=5e-3, err_msg=name)
    computed = json.loads((tmp_path / "report.json").read_text())
    assert {"convolution", "convolution_backward", "native_batch_norm", "_ctc_loss", "_fft_r2c"} <= set(
        computed
    )
    starts = json.loads((tmp_path / "npu" / "run.json").read_text())["starts"]
    assert starts[0]["machine"]["accelerators"] == ["Ascend of this test"] * 8
    assert log_rows(tmp_path / "npu", "gpu_memory_gib")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_card_trains_in_half_the_bits(corpus, tmp_path, precision):
    sections = {**EXACT, "train": {"precision": precision, "device": "npu"}}
    recipe = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "run", **sections)
    on_a_card("train", recipe)
    found = losses(tmp_path / "run")
    assert found[-1] < found[0] / 2
    scaler = read_whole(list_checkpoints(tmp_path / "run" / "checkpoints")[0])["scaler"]
    assert bool(scaler) == (precision == "fp16")  # a scale that finds its size, where it is needed


def test_a_card_recognizes_what_a_cpu_does(corpus, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "run", train={"epochs": 20})
    assert run_jasper("train", recipe).code == 0
    words = ["eval", tmp_path / "run", corpus, "--engine", "torch", "--json"]
    for precision in ("fp32", "bf16"):
        found = on_a_card(
            *words, "--device", "npu", "--precision", precision, report=tmp_path / "report.json"
        )
        score = json.loads(run_jasper(*words, "--device", "cpu", "--precision", precision).stdout)
        assert json.loads(found) == score
        assert "log_softmax" in json.loads((tmp_path / "report.json").read_text())


def test_a_card_transcribes_what_a_cpu_does_and_finds_the_path_itself(corpus, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "run", train={"epochs": 20})
    assert run_jasper("train", recipe).code == 0
    clips = [utterance.path for utterance in read_manifest(corpus)]
    words = ["transcribe", tmp_path / "run", *clips, "--engine", "torch", "--json", "--evidence", "1"]
    found = on_a_card(*words, "--device", "npu", report=tmp_path / "report.json")
    assert found == run_jasper(*words, "--device", "cpu").stdout
    assert len(json.loads(found.splitlines()[0])["text"]) > 3
    assert {"argmax", "amax"} <= set(json.loads((tmp_path / "report.json").read_text()))


def test_cards_sum_by_hccl_and_make_the_steps_of_one(corpus, tmp_path):
    train = {"accumulation": 2, "max_steps": 4}
    recipe = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "alone", **EXACT, train=train)
    assert run_jasper("train", recipe).code == 0
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    words = ["train", recipe, "train.device=npu", "train.accumulation=1", f"train.out={tmp_path / 'both'}"]
    on_a_card(*words, launcher=launcher, report=tmp_path / "report.json")
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(tmp_path / "alone"), rtol=1e-3)
    assert json.loads((tmp_path / "report.json").read_text())["hccl"] >= 4 * 3  # gradients, statistics, loss


def test_the_memory_of_a_card_is_asked_for(corpus, tmp_path):
    sections = {"train": {"device": "npu"}, "data": {"batch_size": 1}}
    recipe = write_recipe(tmp_path / "r.yaml", corpus, tmp_path / "run", **sections)
    found = json.loads(on_a_card("train", recipe, "--find-batch", "--json"))
    assert found["limit_gib"] == pytest.approx(0.9 * 16)
    assert found["peak_gib"] == 1


def test_what_a_card_cannot_do_fails_there():
    """So the tests above tell of it."""
    code = """
import fake_npu, torch
fake_npu.install()
names = {"__name__": "jasper.somewhere", "torch": torch}
for line in ("torch.cuda.is_available()", "torch.ones(2, device='npu') + torch.ones(2)"):
    try:
        exec(line, names)
    except RuntimeError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FAKE.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [
        "jasper.somewhere calls torch.cuda.is_available on an Ascend card",
        "add: expected all tensors to be on npu:0, found one on cpu",
    ]
