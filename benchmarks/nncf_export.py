"""A folder with `plain.onnx` in, `plain.int8.xml` out: what OpenVINO's own tool, NNCF, makes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino

folder = Path(sys.argv[1])
target = folder / "plain.int8.xml"
if not target.exists():
    rng = np.random.default_rng(0)
    clips = [
        {"features": rng.standard_normal((1, 64, size)).astype(np.float32), "lengths": np.array([size])}
        for size in (400, 300)
    ]
    model = openvino.Core().read_model(folder / "plain.onnx")
    quantized = nncf.quantize(model, nncf.Dataset(clips), subset_size=len(clips))
    openvino.save_model(quantized, target)
print(json.dumps({}))
