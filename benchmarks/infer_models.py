"""A preset in, a folder out: a model of random weights, int8 in it, and a plain export of PyTorch's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from reference_step import ReferenceNetwork
from torch import nn

import jasper
from jasper.bundle import write_bundle
from jasper.config import expand
from jasper.directory import INT8_IN_PHASES
from jasper.export.quantize import Int8Plan, measure_ranges
from jasper.graph import build_graph
from jasper.graph.quantize import layers_of
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import load_config

OURS = (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))


def main() -> None:
    """Make what is not there yet."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    model = folder / "model"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_model(name, model)
        _export_plain(name, folder)
    # Graphs and compiled models go into the cache, where a second start finds them.
    for engine, precision in OURS:
        run = jasper.load(model, engine=engine, precision=precision)
        run.log_probs(_noise(200)[None], np.array([200]))
    print(json.dumps({}))


def _write_model(name: str, model: Path) -> None:
    config = load_config(name).model
    torch.manual_seed(0)
    weights = network_weights(build_network(config))
    write_bundle(model, config, weights)
    blocks = [block.model_dump() for block in expand(config.network.blocks)]
    model.with_name("blocks.json").write_text(json.dumps(blocks), encoding="utf-8")
    graph = build_graph(config, weights)
    # What is no speech says nothing of which layers need float: all of them go to int8.
    ranges = measure_ranges(graph, [_noise(400), _noise(300)])
    plan = Int8Plan(tuple(layers_of(graph)), (), ranges, 0.0, 0.0)
    (model / "model.int8.onnx").write_bytes(plan.apply(graph).SerializeToString())
    phased = plan.in_phases(config, weights)
    if phased is not None:
        (model / INT8_IN_PHASES).write_bytes(phased.SerializeToString())


def _export_plain(name: str, folder: Path) -> None:
    """As one exports who knows PyTorch alone; and what ONNX Runtime's own tool makes of it in int8."""
    config = load_config(name)
    blocks = [block.model_dump() for block in expand(config.network.blocks)]
    network = ReferenceNetwork(blocks, len(config.text.labels) + 1).eval()
    _export(network, folder / "plain.onnx")
    quantize_static(
        str(folder / "plain.onnx"),
        str(folder / "plain.int8.onnx"),
        _Noise(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Add", "Relu", "Mul"],
    )


def _export(network: nn.Module, path: Path) -> None:
    names = {"input_names": ["features", "lengths"], "output_names": ["log_probs", "out_lengths"]}
    axes = {"features": {0: "b", 2: "t"}, "lengths": {0: "b"}, "log_probs": {0: "b", 1: "u"}}
    example = (torch.randn(2, 64, 400), torch.tensor([400, 300]))
    torch.onnx.export(network, example, path, dynamic_axes=axes, dynamo=False, opset_version=17, **names)


class _Noise(CalibrationDataReader):
    def __init__(self) -> None:
        self.sizes = iter((400, 300))

    def get_next(self) -> dict[str, np.ndarray] | None:
        size = next(self.sizes, None)
        return None if size is None else {"features": _noise(size)[None], "lengths": np.array([size])}


def _noise(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).standard_normal((64, frames)).astype(np.float32)


if __name__ == "__main__":
    main()
