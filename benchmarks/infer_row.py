"""A folder of `infer_models.py`, seconds, threads and a row's name in; seconds a run and peak memory out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from infer_timing import Run, noise_clip, time_runs


def main() -> None:
    """Measure one row."""
    folder, seconds, threads, name = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    *kind, precision = name.split()
    makers: dict[str, Callable[[Path, str, int], Run]] = {
        "eager": eager,
        "onnxruntime": plain_onnxruntime,
        "openvino": plain_openvino,
    }
    run = ours(folder, kind[1], precision, threads) if kind[0] == "jasper" else None
    run = run or makers[kind[0]](folder, precision, threads)
    print(json.dumps(time_runs(run, *noise_clip(seconds), threads)))


def ours(folder: Path, engine: str, precision: str, threads: int) -> Run:
    """What `jasper transcribe` runs."""
    import jasper

    model = jasper.load(folder / "model", engine=engine, precision=precision, threads=threads, device="cpu")
    return model.log_probs


def eager(folder: Path, precision: str, threads: int) -> Run:
    """PyTorch, one layer after the other, batch norm and all."""
    import torch
    from reference_step import ReferenceNetwork

    from jasper.bundle import read_model_config
    from jasper.config import expand

    torch.set_num_threads(threads)
    config = read_model_config(folder / "model")
    blocks = [block.model_dump() for block in expand(config.network.blocks)]
    network = ReferenceNetwork(blocks, len(config.text.labels) + 1).eval()

    @torch.inference_mode()
    def run(features: np.ndarray, lengths: np.ndarray) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            network(torch.from_numpy(features), torch.from_numpy(lengths))

    return run


def plain_onnxruntime(folder: Path, precision: str, threads: int) -> Run:
    """ONNX Runtime on PyTorch's export, int8 by its own tool."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    path = folder / ("plain.int8.onnx" if precision == "int8" else "plain.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda features, lengths: session.run(None, {"features": features, "lengths": lengths})


def plain_openvino(folder: Path, precision: str, threads: int) -> Run:
    """OpenVINO on PyTorch's export, int8 by NNCF."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision],
    }
    path = folder / ("plain.int8.xml" if precision == "int8" else "plain.onnx")
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda features, lengths: request.infer({"features": features, "lengths": lengths})


if __name__ == "__main__":
    main()
