"""Operators and arrays in, an ONNX graph out; names are the caller's, so that a graph can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

# The first in which reductions take their axes as inputs throughout. ONNX Runtime has read it since 1.14,
# OpenVINO since 2023.
OPSET = 18
IR_VERSION = 8  # that of the same release of ONNX; older runtimes refuse newer files


class GraphWriter:
    """A graph that grows by one operator at a time."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Append an operator with one output; the output has the operator's name, which is returned."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an array; the same name again is the same array."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """Store a list of integers (axes, pads), under a name made of them."""
        return self.constant("int64s." + ".".join(map(str, values)), np.array(values, dtype=np.int64))

    def integer(self, value: int) -> str:
        """Store a single integer, under a name made of it."""
        return self.constant(f"int64.{value}", np.array(value, dtype=np.int64))

    def size(self, x: str, axis: int, name: str) -> str:
        """How long x is along an axis, a single integer."""
        shape = self.add("Shape", [x], f"{name}.shape", start=axis, end=axis + 1)
        return self.add("Squeeze", [shape, self.integers(0)], name)

    def mask(self, size: str, lengths: str, rank: int, dtype: int, name: str) -> str:
        """1 at the places below lengths (B,), else 0, in `dtype`: (B, 1, …, size), of `rank` dimensions."""
        places = self.add("Range", [self.integer(0), size, self.integer(1)], f"{name}.places")
        column = self.add("Unsqueeze", [lengths, self.integers(*range(1, rank))], f"{name}.lengths.column")
        valid = self.add("Less", [places, column], f"{name}.valid")
        return self.add("Cast", [valid], f"{name}.mask", to=dtype)

    def model(
        self,
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """The graph as a model, to which the arrays go one by one: weights take memory once."""
        graph = helper.make_graph(self.nodes, "jasper", inputs, outputs)
        opset = [helper.make_operatorsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="jasper")
        helper.set_model_props(model, metadata)
        for name in list(self.initializers):
            model.graph.initializer.append(self.initializers.pop(name))
        return model
