"""What every exporter starts from: a model and how it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jasper.config import ModelConfig
from jasper.folding import Weights
from jasper.types import FloatArray, IntArray

if TYPE_CHECKING:
    import onnx

    from jasper.export.quantize import Int8Plan

Inputs = tuple[FloatArray, IntArray]  # waves (B, N) or features (B, F, T), and lengths (B,)
Outputs = tuple[FloatArray, IntArray]  # log_probs (B, T', V), lengths (B,)


@dataclass(frozen=True, slots=True)
class Source:
    """`int8` is what a precision of int8 means for this model."""

    config: ModelConfig
    weights: Weights
    precision: str = "fp32"
    waveform: bool = False
    int8: Int8Plan | None = None

    @property
    def input_name(self) -> str:
        """What the file calls its first input; the second is `lengths`."""
        return "waves" if self.waveform else "features"

    def graph(self, *, half: bool = False) -> onnx.ModelProto:
        """The network as an ONNX graph, masks and lengths in it."""
        from jasper.graph import build_graph

        graph = build_graph(self.config, self.weights, half=half, waveform=self.waveform)
        return self.int8.apply(graph) if self.int8 else graph
