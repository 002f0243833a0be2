"""A model and clips of speech in, how it computes in int8 out; layers that 8 bits would hurt stay in float.

Post-training quantization: the clips give every value its range, and show what rounding does to the
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from jasper.config import ModelConfig
from jasper.data.dataset import read_utterance
from jasper.errors import ModelError
from jasper.features import FeatureExtractor
from jasper.folding import Weights
from jasper.graph import build_graph
from jasper.graph.phases import first_in_phases, name_of_whole
from jasper.graph.quantize import layers_of, quantize, ranges_in_phases, values_of
from jasper.progress import progress_bar
from jasper.types import FloatArray, Utterance

T = TypeVar("T")

NUM_CLIPS = 48  # give the ranges
NUM_CHECKED = 8  # of them measure what rounding does
LONGEST = 2000  # frames of a clip that are used
# Nats a step between the distributions in float and in int8. The networks of docs/results.md, "int8", lose
# 0.0 to 0.2 points of WER below it.
TOLERANCE = 0.02
MOST_KEPT = 0.2  # of the layers; if float is needed in more of them, int8 is not for this network


@dataclass(frozen=True, slots=True)
class Int8Plan:
    """The `layers` that compute in 8 bits, those `kept` in float, and the ranges of the values.

    `divergence` is how far that is from float, Kullback and Leibler's, the mean over steps in nats;
    `divergence_of_all` with every layer in 8 bits.
    """

    layers: tuple[str, ...]
    kept: tuple[str, ...]
    largest: Mapping[str, float]
    divergence: float
    divergence_of_all: float

    def apply(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """A graph of the same network in int8, with or without the front end."""
        return quantize(graph, self.largest, self.layers)

    def in_phases(self, config: ModelConfig, weights: Weights) -> onnx.ModelProto | None:
        """The network in int8 with even and odd steps apart (`graph/phases.py`), if it can be."""
        if first_in_phases(config.network) is None:
            return None
        graph = build_graph(config, weights, phased=True)
        layers = [layer for layer in layers_of(graph) if name_of_whole(layer) in self.layers]
        return quantize(graph, ranges_in_phases(graph, layers, self.largest), layers)


def calibration_features(config: ModelConfig, utterances: Sequence[Utterance]) -> list[FloatArray]:
    """The features (F, T) of some of the utterances, spread evenly over all.

    Raises AudioError for a file that cannot be read, ModelError where there is no speech at all.
    """
    places = np.unique(np.linspace(0, len(utterances) - 1, min(NUM_CLIPS, len(utterances))).astype(int))
    extractor = FeatureExtractor(config.features)
    clips = []
    for place in places.tolist():
        wave = read_utterance(utterances[place], config.features.sample_rate)
        features, lengths = extractor([wave])
        if lengths[0]:
            clips.append(features[0, :, :LONGEST])
    if not clips:
        raise ModelError("there is no speech to calibrate int8 on")
    return clips


def plan_int8(config: ModelConfig, weights: Weights, clips: Sequence[FloatArray]) -> Int8Plan:
    """Find out by clips, each features (F, T), how a network is best run in 8 bits.

    Where its log-probabilities move by more than `TOLERANCE`, the layers that move them most, each by itself,
    go back to float one after the other.
    """
    graph = build_graph(config, weights)
    layers = layers_of(graph)
    largest = measure_ranges(graph, clips)
    checked = clips[:: max(1, len(clips) // NUM_CHECKED)][:NUM_CHECKED]
    expected = _run(graph, checked)

    def divergence_of(chosen: Collection[str]) -> float:
        return _divergence(expected, _run(quantize(graph, largest, chosen), checked))

    kept: list[str] = []
    divergence = divergence_of_all = divergence_of(layers)
    if divergence > TOLERANCE:
        alone = {layer: divergence_of([layer]) for layer in _tracked(layers, "layer by layer")}
        for layer in sorted(layers, key=lambda layer: -alone[layer])[: int(MOST_KEPT * len(layers))]:
            kept.append(layer)
            divergence = divergence_of([layer for layer in layers if layer not in kept])
            if divergence <= TOLERANCE:
                break
    chosen = tuple(layer for layer in layers if layer not in kept)
    return Int8Plan(chosen, tuple(kept), largest, divergence, divergence_of_all)


def measure_ranges(graph: onnx.ModelProto, clips: Sequence[FloatArray]) -> dict[str, float]:
    """The largest magnitude of each value that int8 rounds: the mean over clips of a clip's largest.

    The mean, since the one loudest step of all clips would make the steps of the others coarse.
    """
    names = values_of(graph, layers_of(graph))
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    session = _session(watched)
    largest = [
        [float(np.abs(value).max()) for value in session.run(None, _inputs(clip))]
        for clip in _tracked(clips, "calibrating")
    ]
    return dict(zip(names, np.mean(largest, axis=0).tolist(), strict=True))


def _run(graph: onnx.ModelProto, clips: Sequence[FloatArray]) -> list[FloatArray]:
    """The log-probabilities (T', V) of each clip by itself."""
    session = _session(graph)
    return [session.run(["log_probs"], _inputs(clip))[0][0] for clip in clips]


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _inputs(clip: FloatArray) -> dict[str, object]:
    return {"features": clip[None], "lengths": np.array([clip.shape[1]], dtype=np.int64)}


def _divergence(expected: Sequence[FloatArray], found: Sequence[FloatArray]) -> float:
    """Kullback and Leibler's divergence of `found` from `expected`, the mean over all steps, in nats."""
    steps = [
        (np.exp(p) * (p - q)).sum(axis=1, dtype=np.float64) for p, q in zip(expected, found, strict=True)
    ]
    return float(np.concatenate(steps).mean())


def _tracked(items: Sequence[T], label: str) -> Iterator[T]:
    with progress_bar(label, len(items)) as advance:
        for item in items:
            yield item
            advance(1)
