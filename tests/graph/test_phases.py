"""Even and odd steps apart: fewer multiplications, and what PyTorch's network gives all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import randomize, small_config, write_small_model
from test_graph import by_onnx_runtime, by_openvino, compare_with_network

from jasper.config import BlockConfig, EngineConfig, NetworkConfig
from jasper.directory import cache_folder
from jasper.engines import load_engine
from jasper.graph import build_graph
from jasper.graph.openvino import has_amx
from jasper.graph.phases import TRIO, first_in_phases
from jasper.nn.weights import build_network, network_weights
from jasper.recipe import load_config

KERNELS = st.sampled_from([1, 3, 5, 7, 11])


@st.composite
def dense_stacks(draw: st.DrawFn) -> tuple[BlockConfig, ...]:
    """Strides, then blocks of convolutions in one piece, at least one of which has something to save."""
    strided = st.builds(BlockConfig, filters=st.integers(2, 9), kernel=KERNELS, stride=st.integers(2, 3))
    plain = st.builds(
        BlockConfig,
        filters=st.integers(2, 9),
        kernel=KERNELS,
        repeat=st.integers(1, 3),
        residual=st.sampled_from(["none", "plain", "dense"]),
        dilation=st.sampled_from([1, 1, 2]),
    )
    blocks = draw(st.lists(plain, max_size=3))
    sure = BlockConfig(filters=5, kernel=draw(st.sampled_from([3, 5, 9])), repeat=2, residual="plain")
    with_future = [
        block.model_copy(update={"future_context": draw(st.none() | st.integers(0, block.kernel - 1))})
        if block.dilation == 1
        else block
        for block in (*blocks, sure)
    ]
    return (*draw(st.lists(strided, max_size=2)), *draw(st.permutations(with_future)))


@pytest.mark.parametrize("run", [by_onnx_runtime, by_openvino])
@given(
    blocks=dense_stacks(),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    padding=st.integers(0, 9),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=30, deadline=None)
def test_any_network_of_whole_convolutions_and_any_lengths(run, blocks, lengths, padding, seed):
    graph = compare_with_network(run, blocks, lengths, padding, seed, phased=True)
    assert any(TRIO in node.name for node in graph.graph.node)


def test_a_quarter_of_the_multiplications_is_saved():
    """As counted by a runtime's own shapes: of kernels with eleven taps 17 in place of 22 are left."""
    blocks = (BlockConfig(filters=8, kernel=11, repeat=4),)
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    weights = network_weights(randomize(build_network(config)))
    whole, phased = (multiplications(build_graph(config, weights, phased=phased)) for phased in (False, True))
    assert phased / whole == pytest.approx(17 / 22, abs=0.01)


def multiplications(graph: onnx.ModelProto) -> int:
    """Of all convolutions, for one row of 400 frames."""
    graph.graph.input[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    for size in (1, 64, 400):
        graph.graph.input[0].type.tensor_type.shape.dim.add().dim_value = size
    inferred = onnx.shape_inference.infer_shapes(graph, data_prop=True).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    sizes = {array.name: int(np.prod(array.dims)) for array in graph.graph.initializer}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    steps = {node.output[0]: shapes[node.output[0]][3].dim_value for node in convolutions}
    assert all(steps.values())
    return sum(sizes[node.input[1]] * steps[node.output[0]] for node in convolutions)


def test_of_the_presets_those_of_whole_convolutions_go_in_phases():
    found = {
        name: first_in_phases(load_config(name).model.network)
        for name in ("jasper10x5dr", "jasper5x3", "small", "quartznet15x5")
    }
    assert found == {"jasper10x5dr": 1, "jasper5x3": 1, "small": 2, "quartznet15x5": None}


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        (
            [BlockConfig(filters=8, kernel=5), BlockConfig(filters=8, kernel=5, squeeze=2)],
            "means of all steps",
        ),
        ([BlockConfig(filters=8, kernel=5), BlockConfig(filters=8, kernel=5, dilation=3)], "odd dilation"),
        (
            [BlockConfig(filters=8, kernel=5), BlockConfig(filters=8, kernel=5, stride=2)],
            "a stride at the end",
        ),
        ([BlockConfig(filters=8, kernel=1)], "nothing to save"),
    ],
)
def test_what_cannot_or_need_not_be_is_left_whole(blocks, why):
    assert first_in_phases(NetworkConfig(blocks=tuple(blocks))) is None, why


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_engines_take_it_in_single_precision(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_engine(write_small_model(tmp_path / "m"), EngineConfig(engine=engine))
    assert [path.name for path in cache_folder().glob("engines/*/*.onnx")] == ["phases.fp32.onnx"]


def test_the_processor_s_own_word_on_amx():
    flags = Path("/proc/cpuinfo")
    if not flags.is_file() or "flags" not in flags.read_text():
        pytest.skip("needs Linux on x86")
    assert has_amx() == ("amx_tile" in flags.read_text())
