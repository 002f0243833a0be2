"""The ONNX graph of any network, padded batches at once: what PyTorch's network gives, by two runtimes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import randomize, small_config, stacks

from jasper.config import NetworkConfig
from jasper.graph import build_graph
from jasper.graph.openvino import core
from jasper.nn.weights import build_network, network_weights

TOLERANCE = 1e-4
ROUNDING = 2e-6  # of the value: a random network's log-probabilities may be hundreds below zero


def by_onnx_runtime(graph: bytes, features: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph)
    return session.run(["log_probs", "log_probs_lengths"], {"features": features, "lengths": lengths})


def by_openvino(graph: bytes, features: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    result = core().compile_model(core().read_model(graph), "CPU", hint)([features, lengths])
    return [result["log_probs"], result["log_probs_lengths"]]


@pytest.mark.parametrize("run", [by_onnx_runtime, by_openvino])
@given(
    blocks=stacks(),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    padding=st.integers(0, 9),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_padding_reaches_no_valid_step(run, blocks, lengths, padding, seed):
    compare_with_network(run, blocks, lengths, padding, seed)


def compare_with_network(run, blocks, lengths, padding, seed, *, phased=False):
    """A ragged batch, its padding loud, through the graph and through PyTorch's network; the graph."""
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    network = randomize(build_network(config), seed)
    rng = np.random.default_rng(seed)
    shape = (len(lengths), config.features.num_mels, max(1, *lengths) + padding)
    features = rng.standard_normal(shape).astype(np.float32)
    for row, length in zip(features, lengths, strict=True):
        row[:, length:] = 100.0
    graph = build_graph(config, network_weights(network), phased=phased)
    onnx.checker.check_model(graph, full_check=True)
    with torch.inference_mode():
        expected, steps = network(torch.from_numpy(features), torch.tensor(lengths))
    found, found_steps = run(graph.SerializeToString(), features, np.array(lengths))
    np.testing.assert_array_equal(found_steps, steps.numpy())
    assert found.shape == expected.shape
    for row, other, length in zip(found, expected.numpy(), steps.tolist(), strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=TOLERANCE, rtol=ROUNDING)
    return graph
