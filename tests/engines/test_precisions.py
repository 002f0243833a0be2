"""In every precision an engine is near the network of PyTorch, and a row is alone what it is among others."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from processors import needs_vnni
from small_networks import small_config, stacks
from test_engines import NAMES, ROUNDING, batch, random_weights, reference

import jasper
from jasper.bundle import write_bundle
from jasper.config import BlockConfig, EngineConfig, NetworkConfig
from jasper.engines import PRECISIONS, Engine, load_engine
from jasper.errors import UnavailableError
from jasper.types import FloatArray, IntArray

# The networks are the same ones in each run: how far random weights carry a rounding error has no bound.
# As docs/export.md has them, of a log-probability in fp32, else of a probability: from the network in single
# precision, and of a row alone or in another order from the same row in a batch.
NEAR = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1}
SAME = {**NEAR, "int8": 0.02}
ALIKE_INT8 = 0.3  # of a probability, of two runtimes, which round in other places
FLOATS = [(name, precision) for name in NAMES for precision in PRECISIONS[name] if precision != "int8"]

shapes = given(
    blocks=stacks(),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Manifest of a few clips that int8 can be calibrated on."""
    folder, rng = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    lines = []
    for index in range(4):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.standard_normal(8000), 16000)
        lines.append(json.dumps({"audio_filepath": f"{index}.wav", "duration": 0.5, "text": "a"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.jsonl"


def write_network(folder: str, blocks: tuple[BlockConfig, ...], seed: int) -> Path:
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    return write_bundle(Path(folder, "m"), config, random_weights(config, seed))


def apart(found: FloatArray, expected: FloatArray, precision: str) -> float:
    """The largest difference of a log-probability in fp32, less what is rounding; else of a probability."""
    if precision == "fp32":
        return float((np.abs(found - expected) - ROUNDING * np.abs(expected)).max(initial=0))
    return float(np.abs(np.exp(found) - np.exp(expected)).max(initial=0))


def assert_rows_are_alone_what_they_are_together(
    engine: Engine, features: FloatArray, lengths: IntArray, seed: int
) -> FloatArray:
    together, steps = engine.log_probs(features, lengths)
    order = np.random.default_rng(seed).permutation(len(lengths))
    shuffled, _ = engine.log_probs(features[order], lengths[order])
    for place, row in enumerate(order):
        valid = together[row, : steps[row]]
        size = max(1, lengths[row])  # of a row without a frame, padding
        alone, _ = engine.log_probs(features[row : row + 1, :, :size], lengths[row : row + 1])
        for other in (shuffled[place], alone[0]):
            assert apart(other[: steps[row]], valid, engine.precision) <= SAME[engine.precision]
    return together


@pytest.mark.parametrize(("name", "precision"), FLOATS)
@shapes
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_network_in_any_precision(name, precision, blocks, lengths, seed):
    features = batch(lengths, seed)
    with tempfile.TemporaryDirectory() as folder:
        directory = write_network(folder, blocks, seed)
        try:
            engine = load_engine(directory, EngineConfig(engine=name, precision=precision))
        except UnavailableError as error:
            pytest.skip(str(error))
        found = assert_rows_are_alone_what_they_are_together(engine, *features, seed)
        expected, steps = reference(directory, *features)
    for row, other, length in zip(found, expected, steps, strict=True):
        assert apart(row[:length], other[:length], precision) <= NEAR[precision]


@needs_vnni
@shapes
@settings(max_examples=20, deadline=None, derandomize=True)
def test_any_network_in_8_bits(noise, blocks, lengths, seed):
    assert_alike_in_8_bits(noise, blocks, batch(lengths, seed), seed)


@needs_vnni
@pytest.mark.parametrize("filters", [7, 32])
def test_features_in_a_dense_sum_in_8_bits(noise, filters):
    """Of a dense first block OpenVINO made nonsense: features have a sign, what ReLUs give has none."""
    blocks = (BlockConfig(filters=filters, kernel=5, residual="dense", count=3),)
    assert_alike_in_8_bits(noise, blocks, batch([35, 6, 17]), 0)


def assert_alike_in_8_bits(
    noise: Path, blocks: tuple[BlockConfig, ...], features: tuple[FloatArray, IntArray], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = write_network(folder, blocks, seed)
        jasper.export(directory, precision="int8", calibrate=noise)
        one, other = (
            assert_rows_are_alone_what_they_are_together(
                load_engine(directory, EngineConfig(engine=name, precision="int8")), *features, seed
            )
            for name in NAMES
            if "int8" in PRECISIONS[name]
        )
    assert apart(one, other, "int8") <= ALIKE_INT8
