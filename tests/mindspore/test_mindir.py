"""`jasper export --format mindir`: one file that MindSpore runs without this package, whatever the batch."""

import subprocess
import sys

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, nn
from small_networks import write_small_model

import jasper
from jasper.engines import EngineConfig, load_engine
from jasper.errors import ModelError


def test_the_file_runs_on_any_batch_and_length(tmp_path):
    model = write_small_model(tmp_path / "model")
    command = [sys.executable, "-m", "jasper", "export", str(model), "--format", "mindir", "--check"]
    subprocess.run(command, check=True, timeout=180)
    graph = nn.GraphCell(mindspore.load(str(model / "model.mindir")))
    engine = load_engine(model, EngineConfig(engine="torch", device="cpu"))
    rng = np.random.default_rng(0)
    for lengths in ((40,), (7, 33, 90), (200, 61)):
        features = rng.standard_normal((len(lengths), 64, max(lengths)), dtype=np.float32)
        found, steps = (
            value.asnumpy() for value in graph(Tensor(features), Tensor(np.array(lengths, np.int32)))
        )
        expected, expected_steps = engine.log_probs(features, np.array(lengths))
        assert steps.tolist() == expected_steps.tolist()
        for row, num in enumerate(steps):
            assert np.abs(found[row, :num] - expected[row, :num]).max() < 1e-4


def test_what_a_mindir_cannot_be_is_said(tmp_path):
    model = write_small_model(tmp_path / "model")
    with pytest.raises(ModelError, match="a MINDIR takes features"):
        jasper.export(model, "mindir", waveform=True)
