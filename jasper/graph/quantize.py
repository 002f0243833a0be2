"""An ONNX graph and the ranges of its values in, the graph with its convolutions in 8 bits out.

Pairs of QuantizeLinear and DequantizeLinear say where values are integers; ONNX Runtime and OpenVINO
both join them with what stands between into integer kernels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from jasper.graph.phases import TRIO, name_of_whole
from jasper.graph.writer import GraphWriter

LARGEST = 127  # of what has both signs; symmetric, -128 is not used


def layers_of(graph: onnx.ModelProto) -> list[str]:
    """The names of the convolutions that may compute in 8 bits, in the order of execution.

    Those of squeeze-and-excitation are not among them: they see one step and cost nothing. Nor are those of a
    dense sum that takes the features in: OpenVINO 2026.4 errs where values with and without a sign meet.
    """
    flow = _Flow(graph)
    return [
        node.name
        for node in graph.graph.node
        if node.op_type == "Conv" and ".excitation" not in node.name and not flow.is_mixed(node.input[0])
    ]


def values_of(graph: onnx.ModelProto, layers: Collection[str]) -> list[str]:
    """The names of the values that become integers where `layers` compute in 8 bits.

    They are what a layer reads; the ReLU behind that, so that the layer before writes integers; and what
    goes from a layer into a sum, but for those of `phases.py`, which are the layer itself.
    """
    return list(_Flow(graph).values(layers))


def quantize(
    graph: onnx.ModelProto, largest: Mapping[str, float], layers: Collection[str]
) -> onnx.ModelProto:
    """Let `layers` compute in 8 bits and the rest in what it was; the graph itself is left as it is.

    `largest` has the largest magnitude of each of `values_of`; what is beyond it is clipped. A value has one
    scale: 255 steps up from zero after a ReLU, 127 on each side elsewhere. Weights have one scale a filter.
    """
    flow, writer = _Flow(graph), GraphWriter()
    signed, masks = flow.values(layers), flow.masks()
    largest = flow.shared(largest)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    integers: dict[str, str] = {}
    for original in graph.graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        node.input[:] = [integers.get(name, name) for name in node.input]
        if node.name in layers:
            name = original.input[1]
            if name in weights:  # else both phases of a layer share it
                integers[name] = _write_weight(writer, name, numpy_helper.to_array(weights.pop(name)))
            node.input[1] = integers[name]
        writer.nodes.append(node)
        for name in node.output:
            if name in signed:
                integers[name] = _write_value(writer, name, largest[name], signed[name])
            elif name in masks:
                integers[name] = _write_mask(writer, name)
    writer.initializers.update(weights)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    return writer.model(list(graph.graph.input), list(graph.graph.output), {**metadata, "precision": "int8"})


def ranges_in_phases(
    phased: onnx.ModelProto, layers: Collection[str], largest: Mapping[str, float]
) -> dict[str, float]:
    """The ranges of `values_of` a graph in phases, by those of the whole one.

    A difference of two steps is given the range of a step: it is rarely more, though it could be twice that.
    """
    nodes = {node.name: node for node in phased.graph.node}
    values = {name: name for name in values_of(phased, layers)}
    for node in phased.graph.node:
        if node.name.endswith(f"{TRIO}both"):
            conv = node.name.removesuffix(f"{TRIO}both")
            values.update({nodes[f"{conv}{TRIO}{one}"].input[0]: node.input[0] for one in ("even", "odd")})
    return {name: largest[name_of_whole(step)] for name, step in values.items()}


class _Flow:
    """Who writes a value of a graph, and who reads it."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self.nodes = graph.graph.node
        self.writers = {name: node for node in self.nodes for name in node.output}
        self.summed = {name for node in self.nodes if node.op_type == "Add" for name in node.input}

    def values(self, layers: Collection[str]) -> dict[str, bool]:
        """See `values_of`; and whether each has both signs."""
        values: dict[str, bool] = {}
        for node in self.nodes:
            if node.name not in layers:
                continue
            behind = self._relus(node.input[0])
            values.update(dict.fromkeys(behind, False))
            values[node.input[0]] = not behind
            if node.output[0] in self.summed and TRIO not in node.name:
                values[node.output[0]] = True
        return values

    def masks(self) -> set[str]:
        """The values that multiply those of `values`."""
        return {node.input[1] for node in self.nodes if node.op_type == "Mul" and self._relus(node.output[0])}

    def is_mixed(self, name: str) -> bool:
        """Whether a value is a concatenation of which some parts come from ReLUs and some do not."""
        writer = self.writers.get(name)
        return writer is not None and writer.op_type == "Concat" and not self._relus(name)

    def shared(self, largest: Mapping[str, float]) -> dict[str, float]:
        """The same range for all that meets in concatenations, or it would be rounded once more in each."""
        result = dict(largest)
        joined: set[str] = set()
        for node in self.nodes:
            if node.op_type == "Concat" and not self.is_mixed(node.output[0]):
                joined.update((*node.input, *node.output, *self._relus(node.output[0])))
        joined &= set(result)
        return {**result, **dict.fromkeys(joined, max((result[name] for name in joined), default=0.0))}

    def _relus(self, name: str) -> list[str]:
        """The ReLUs that a value comes from, through masks, concatenations and parts of the steps."""
        writer = self.writers.get(name)
        if writer is None or writer.op_type not in ("Relu", "Mul", "Concat", "Slice", "Pad"):
            return []
        if writer.op_type == "Relu":
            return [name]
        sources = writer.input if writer.op_type == "Concat" else writer.input[:1]
        found = [self._relus(source) for source in sources]
        return [relu for relus in found for relu in relus] if all(found) else []


def _write_value(writer: GraphWriter, name: str, largest: float, signed: bool) -> str:
    """Round a value to 8 bits and back; returns the name of the result."""
    steps, kind = (LARGEST, np.int8) if signed else (255, np.uint8)
    scale = np.array(max(largest, 1e-12) / steps, dtype=np.float32)  # what is always zero has no range
    settings = [
        writer.constant(f"{name}.scale", scale),
        writer.constant(f"{name}.zero", np.array(0, dtype=kind)),
    ]
    rounded = writer.add("QuantizeLinear", [name, *settings], f"{name}.rounded")
    return writer.add("DequantizeLinear", [rounded, *settings], f"{name}.back")


def _write_mask(writer: GraphWriter, name: str) -> str:
    """Double a mask and halve it: OpenVINO 2026.4 takes what a constant scales for a value that has a scale.

    Only then does it multiply integers by the mask, and lets the layer before write them.
    """
    doubled = writer.add("Add", [name, name], f"{name}.doubled")
    half = writer.constant("half", np.array(0.5, dtype=np.float32))
    return writer.add("Mul", [doubled, half], f"{name}.halved")


def _write_weight(writer: GraphWriter, name: str, weight: NDArray[Any]) -> str:
    """Store a weight (filters, …) in 8 bits; returns the name of what it stands for."""
    column = (-1, *[1] * (weight.ndim - 1))
    scales = np.abs(weight).max(axis=tuple(range(1, weight.ndim))) / LARGEST
    scales = np.maximum(scales, 1e-12).astype(np.float32)
    rounded = np.round(weight / scales.reshape(column)).clip(-LARGEST, LARGEST)
    inputs = [
        writer.constant(f"{name}.rounded", rounded.astype(np.int8)),
        writer.constant(f"{name}.scales", scales),
        writer.constant(f"{name}.zeros", np.zeros(len(scales), dtype=np.int8)),
    ]
    return writer.add("DequantizeLinear", inputs, f"{name}.back", axis=0)
