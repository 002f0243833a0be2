"""A folded network in, its operators in a graph out: from features and lengths to log-probabilities."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from jasper.folding import Excitation, FoldedBlock, FoldedConvolution, FoldedNetwork
from jasper.graph.writer import GraphWriter
from jasper.types import FloatArray


class NetworkWriter:
    """Writes x as (B, C, 1, T), the layout of images, for which runtimes have their fastest kernels."""

    def __init__(self, graph: GraphWriter, masked: bool, half: bool) -> None:
        """Without `masked` every row must be valid to its end; `half` computes in half precision."""
        self.graph = graph
        self.masked = masked
        self.dtype, self.type = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
        self.steps = ""  # T of the steps at hand
        self.mask = ""  # (B, 1, 1, T) of the steps at hand: 1 at valid ones, else 0

    def write(self, network: FoldedNetwork, features: str, lengths: str) -> tuple[str, str]:
        """Write all from features (B, F, T), lengths (B,) to log_probs (B, T', V), lengths (B,)."""
        x = self._start(features, lengths)
        inputs = []
        for block in network.blocks:
            inputs.append(x)
            x, lengths = self._block(block, [inputs[source] for source in block.sources], x, lengths)
        return self._log_softmax(self._logits(network.head, x, "head")), lengths

    def _start(self, features: str, lengths: str) -> str:
        graph = self.graph
        if self.masked:
            self.steps = graph.size(features, 2, "input.steps")
            self._mask(lengths, "input")
        x = graph.add("Unsqueeze", [features, graph.integers(2)], "input.image")
        return self._masked(graph.add("Cast", [x], "input.cast", to=self.type), "input")

    def _logits(self, head: FoldedConvolution, x: str, name: str) -> str:
        graph = self.graph
        logits = graph.add("Squeeze", [self._convolution(head, x, name), graph.integers(2)], f"{name}.steps")
        logits = graph.add("Transpose", [logits], f"{name}.transposed", perm=[0, 2, 1])
        return graph.add("Cast", [logits], f"{name}.logits", to=TensorProto.FLOAT)

    def _log_softmax(self, logits: str) -> str:
        return self.graph.add("LogSoftmax", [logits], "log_probs", axis=-1)

    def _block(self, block: FoldedBlock, sources: list[str], x: str, lengths: str) -> tuple[str, str]:
        graph = self.graph
        *first, last = block.sub_blocks
        for sub_block in first:
            name = sub_block[-1].name
            x = self._masked(graph.add("Relu", [self._sub_block(sub_block, x)], f"{name}.relu"), name)
        x = self._sub_block(last, x)
        if block.stride > 1 and self.masked:
            lengths = self._strided(lengths, f"{block.name}.lengths", block.stride)
            # Not the size of x: where x has a second reader, OpenVINO 2026.4 goes wrong in 8 bits.
            self.steps = self._strided(self.steps, f"{block.name}.steps", block.stride)
            self._mask(lengths, block.name)
        if block.excitation is not None:
            x = self._excitation(block.excitation, self._masked(x, block.excitation.name))
        if block.residual is not None:
            source = sources[0]
            if len(sources) > 1:
                source = graph.add("Concat", sources, f"{block.name}.sources", axis=1)
            x = graph.add("Add", [x, self._convolution(block.residual, source)], f"{block.name}.sum")
        return self._masked(graph.add("Relu", [x], f"{block.name}.relu"), block.name), lengths

    def _sub_block(self, sub_block: tuple[FoldedConvolution, ...], x: str) -> str:
        for conv in sub_block:
            x = self._convolution(conv, x)
        return x

    def _convolution(self, conv: FoldedConvolution, x: str, name: str = "") -> str:
        inputs = [x, self._constant(f"{conv.name}.weight", conv.weight[:, :, None])]
        if conv.bias is not None:
            inputs.append(self._constant(f"{conv.name}.bias", conv.bias))
        return self.graph.add(
            "Conv",
            inputs,
            name or conv.name,
            kernel_shape=[1, conv.weight.shape[2]],
            strides=[1, conv.stride],
            dilations=[1, conv.dilation],
            pads=[0, conv.padding[0], 0, conv.padding[1]],
            group=conv.groups,
        )

    def _excitation(self, excitation: Excitation, x: str) -> str:
        """Scale each channel of x by a function of all channels' means over the valid steps."""
        graph, name = self.graph, excitation.name
        # The mean of all steps, corrected: a sum would leave the range of half precision.
        mean = graph.add("ReduceMean", [x, graph.integers(3)], f"{name}.mean", keepdims=1)
        if self.masked:
            share = graph.add("ReduceMean", [self.mask, graph.integers(3)], f"{name}.share", keepdims=1)
            # A row without valid steps has no mean, but must not divide by zero either.
            least = self._constant("least_share", np.array(1e-6, dtype=np.float32))
            share = graph.add("Max", [share, least], f"{name}.least")
            mean = graph.add("Div", [mean, share], f"{name}.valid_mean")
        y = graph.add("Relu", [self._convolution(excitation.squeeze, mean)], f"{name}.relu")
        scale = graph.add("Sigmoid", [self._convolution(excitation.excite, y)], f"{name}.scale")
        return graph.add("Mul", [x, scale], f"{name}.scaled")

    def _strided(self, count: str, name: str, stride: int) -> str:
        """ceil(count / stride), the steps after a convolution with odd kernel."""
        more = self.graph.add("Add", [count, self.graph.integer(stride - 1)], f"{name}.up")
        return self.graph.add("Div", [more, self.graph.integer(stride)], name)

    def _mask(self, lengths: str, name: str) -> None:
        """From here on, until the next stride, steps past `lengths` are set to zero."""
        self.mask = self.graph.mask(self.steps, lengths, 4, self.type, name)

    def _constant(self, name: str, value: FloatArray) -> str:
        return self.graph.constant(name, value.astype(self.dtype))

    def _masked(self, x: str, name: str) -> str:
        return self.graph.add("Mul", [x, self.mask], f"{name}.masked") if self.masked else x
