"""A configuration and its weights in, an ONNX model out: the network as other runtimes run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jasper.config import ModelConfig
from jasper.folding import Weights, fold
from jasper.graph.metadata import write_metadata

if TYPE_CHECKING:
    import onnx


def build_graph(
    config: ModelConfig,
    weights: Weights,
    *,
    masked: bool = True,
    half: bool = False,
    waveform: bool = False,
    phased: bool = False,
) -> onnx.ModelProto:
    """Write the network of a model directory as an ONNX graph, in evaluation mode, batch norm folded.

    It maps `features` (B, num_features, T) float32, zero or not past `lengths` (B,) int64, to `log_probs`
    (B, T', V) float32 and `log_probs_lengths` (B,) int64; any B and T. With `waveform` it maps `waves` (B, N)
    at the model's sample rate and their `lengths` in samples instead. Without `masked` there are no lengths:
    every row must be valid to its end. `half` computes all of the network but the log-softmax in half
    precision. `phased` computes even and odd steps apart where that saves multiplications (`phases.py`).
    """
    from onnx import TensorProto, helper  # which a graph that is in the cache already does without

    from jasper.graph.features import FeatureWriter
    from jasper.graph.network import NetworkWriter
    from jasper.graph.phased import PhasedWriter
    from jasper.graph.phases import first_in_phases
    from jasper.graph.writer import GraphWriter

    graph = GraphWriter()
    value = helper.make_tensor_value_info
    if waveform:
        inputs = [value("waves", TensorProto.FLOAT, ["batch", "samples"])]
        features, lengths = FeatureWriter(graph, config.features).write("waves", "lengths")
    else:
        inputs = [value("features", TensorProto.FLOAT, ["batch", config.features.num_features, "frames"])]
        features, lengths = "features", "lengths"
    network = fold(config.network, weights)
    first = first_in_phases(config.network) if phased and masked else None
    if first is None:
        log_probs, lengths = NetworkWriter(graph, masked, half).write(network, features, lengths)
    else:
        writer = PhasedWriter(graph, masked, half)
        log_probs, lengths = writer.write_phased(network, first, features, lengths)
    outputs = [value(log_probs, TensorProto.FLOAT, ["batch", "steps", len(config.text.labels) + 1])]
    if masked:
        inputs.append(value("lengths", TensorProto.INT64, ["batch"]))
        lengths = graph.add("Identity", [lengths], "log_probs_lengths")
        outputs.append(value(lengths, TensorProto.INT64, ["batch"]))
    return graph.model(inputs, outputs, write_metadata(config, "fp16" if half else "fp32"))
