"""OpenVINO is loaded without what is not used of it, and that can still be loaded afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from small_networks import write_small_model

import jasper
from jasper.errors import ModelError


def test_its_converter_is_not_loaded_but_can_be():
    """It takes longer to import than all the rest, and starts a thread for telemetry."""
    code = (
        "import sys, threading, jasper.graph.openvino\n"
        "assert 'openvino_telemetry' not in sys.modules and threading.active_count() == 1\n"
        "from openvino.tools.ovc import convert_model\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_its_own_files_stand_for_the_weights(tmp_path, precision):
    directory = write_small_model(tmp_path / "m")
    shipped = tmp_path / "shipped"
    exported = jasper.export(directory, "openvino", precision=precision, out=shipped / "model.xml")
    shutil.copy(directory / "config.yaml", shipped)
    assert {path.name for path in exported.files} == {"model.xml", "model.bin"}
    batch = np.random.default_rng(0).standard_normal((1, 64, 200)).astype(np.float32), np.array([200])
    found, _ = jasper.load(shipped, engine="openvino").log_probs(*batch)
    expected, _ = jasper.load(directory, engine="openvino").log_probs(*batch)
    np.testing.assert_allclose(found, expected, atol=1e-4 if precision == "fp32" else 0.1)
    with pytest.raises(ModelError, match=r"model\.onnx is not there"):
        jasper.load(shipped, engine="onnx")
