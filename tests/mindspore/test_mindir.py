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


def test_many_weights_stand_beside_the_graph(tmp_path, monkeypatch):
    """As MindSpore writes more than 1 GB, such as Jasper 10x5; whatever the file is called, it finds them."""
    monkeypatch.setattr(mindspore.train.serialization, "TOTAL_SAVE", 1)  # KiB
    model, out = write_small_model(tmp_path / "model"), tmp_path / "elsewhere"
    exported = jasper.export(model, "mindir", check=True, out=out / "x.mindir")
    assert exported.files == (out / "x.mindir", out / "x_variables" / "data_0")
    assert exported.difference < 1e-4
    assert sorted(path.name for path in out.iterdir()) == ["x.mindir", "x_variables"]
    out.rename(tmp_path / "moved")
    graph = nn.GraphCell(mindspore.load(str(tmp_path / "moved" / "x.mindir")))
    features = np.random.default_rng(0).standard_normal((1, 64, 50), dtype=np.float32)
    found, _ = graph(Tensor(features), Tensor(np.array([50], np.int32)))
    expected, _ = load_engine(model, EngineConfig(engine="torch")).log_probs(features, np.array([50]))
    np.testing.assert_allclose(found.asnumpy(), expected, atol=1e-4)


def test_what_a_mindir_cannot_be_is_said(tmp_path):
    model = write_small_model(tmp_path / "model")
    with pytest.raises(ModelError, match="a MINDIR takes features"):
        jasper.export(model, "mindir", waveform=True)
