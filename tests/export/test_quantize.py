"""int8 by calibration: both runtimes read one file, answers stay those of float, what hurts stays in it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import numpy_helper
from processors import needs_vnni
from small_networks import randomize, small_config, write_small_model

import jasper
from jasper.bundle import read_model, write_bundle
from jasper.config import BlockConfig, NetworkConfig, expand
from jasper.data.manifest import read_manifest
from jasper.directory import INT8_IN_PHASES
from jasper.errors import ModelError
from jasper.export.quantize import Int8Plan, calibration_features, measure_ranges, plan_int8
from jasper.graph import build_graph
from jasper.graph.openvino import core
from jasper.graph.phases import TRIO
from jasper.graph.quantize import layers_of
from jasper.nn.weights import build_network, network_weights

COMMAND = Path(sys.executable).with_name("jasper")
CLOSE = 0.01  # nats a step, the mean over a batch


def divergence(expected, found, lengths) -> float:
    """Of the valid steps of a batch, the mean in nats."""
    steps = [
        (np.exp(p[:n]) * (p[:n] - q[:n])).sum(axis=1)
        for p, q, n in zip(expected, found, lengths, strict=True)
    ]
    return float(np.concatenate(steps).mean())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Eight clips of noise that rises and falls, 0.5 to 2 s."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    lines = []
    for index in range(8):
        size = 8000 + 3000 * index
        wave = 0.1 * rng.standard_normal(size) * np.abs(np.sin(np.arange(size) / 900))
        soundfile.write(folder / f"{index}.wav", wave, 16000)
        entry = {"id": str(index), "audio_filepath": f"{index}.wav", "duration": size / 16000, "text": "a"}
        lines.append(json.dumps(entry))
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory, manifest) -> Path:
    directory = write_small_model(tmp_path_factory.mktemp("model") / "small")
    command = [COMMAND, "export", directory, "--precision", "int8", "--calibrate", manifest]
    done = subprocess.run(
        [*command, "--check", "--score", manifest, "--json"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["path"] == str(directory / "model.int8.onnx")
    assert set(result["wer"]) == {"fp32", "int8"}
    return directory


def batch() -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([301, 77, 180])
    features = np.random.default_rng(1).standard_normal((3, 64, 301)).astype(np.float32)
    return features, lengths


@needs_vnni
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_int8_says_what_float_says_together_and_alone(exported, engine):
    features, lengths = batch()
    expected, out_lengths = jasper.load(exported, engine=engine).log_probs(features, lengths)
    model = jasper.load(exported, engine=engine, precision="int8")
    found, _ = model.log_probs(features, lengths)
    assert divergence(expected, found, out_lengths) < CLOSE
    for row, length in enumerate(out_lengths):
        alone, _ = model.log_probs(features[row : row + 1, :, : lengths[row]], lengths[row : row + 1])
        np.testing.assert_allclose(np.exp(alone[0]), np.exp(found[row, :length]), atol=1e-3)


@needs_vnni
def test_openvino_rounds_as_onnx_runtime_behind_a_stride(tmp_path, manifest):
    """The mask after a stride took its size from the convolution: with two readers OpenVINO went wrong."""
    blocks = [
        BlockConfig(filters=16, kernel=5, stride=2),
        BlockConfig(filters=24, kernel=5, stride=2),
        BlockConfig(filters=24, kernel=3, repeat=2, residual="dense", count=2),
    ]
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=tuple(blocks))})
    directory = write_bundle(tmp_path / "m", config, network_weights(randomize(build_network(config))))
    jasper.export(directory, precision="int8", calibrate=manifest)
    (expected, lengths), (found, _) = (
        jasper.load(directory, engine=engine, precision="int8").log_probs(*batch())
        for engine in ("onnx", "openvino")
    )
    assert divergence(expected, found, lengths) < CLOSE


@needs_vnni
def test_openvino_runs_its_own_int8_file(exported, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("jasper.engines.openvino.has_amx", lambda: True)  # else the other file is in phases
    expected, _ = jasper.load(exported, engine="openvino", precision="int8").log_probs(*batch())
    directory = write_small_model(tmp_path / "m")
    with pytest.raises(ModelError, match=r"model\.int8\.onnx is not there"):
        jasper.load(directory, engine="openvino", precision="int8")
    jasper.export(directory, "openvino", precision="int8", calibrate=manifest)
    found, _ = jasper.load(directory, engine="openvino", precision="int8").log_probs(*batch())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@needs_vnni
def test_without_amx_openvino_takes_even_and_odd_steps_apart(exported, monkeypatch):
    found = {}
    for amx in (True, False):
        monkeypatch.setattr("jasper.engines.openvino.has_amx", lambda amx=amx: amx)
        model = jasper.load(exported, engine="openvino", precision="int8")
        layers = [op.get_friendly_name() for op in model.engine.compiled.get_runtime_model().get_ops()]
        assert any(TRIO in layer for layer in layers) == (not amx)
        found[amx], lengths = model.log_probs(*batch())
    assert divergence(found[True], found[False], lengths) < CLOSE


def test_the_check_runs_the_file_in_phases_too(tmp_path, manifest, monkeypatch):
    directory = write_small_model(tmp_path / "m")
    right = Int8Plan.in_phases

    def negated(plan, config, weights):
        turned = {name: -weight if weight.ndim == 3 else weight for name, weight in weights.items()}
        return right(plan, config, turned)

    monkeypatch.setattr(Int8Plan, "in_phases", negated)
    with pytest.raises(ModelError, match=INT8_IN_PHASES):
        jasper.export(directory, precision="int8", calibrate=manifest, check=True)
    assert not list(directory.glob("*.onnx"))


def test_an_older_file_in_phases_does_not_outlive_an_export(tmp_path, manifest):
    config = small_config().model_copy(
        update={"network": NetworkConfig(blocks=(BlockConfig(filters=16, kernel=5, separable=True),))}
    )
    directory = write_bundle(tmp_path / "m", config, network_weights(randomize(build_network(config))))
    (directory / INT8_IN_PHASES).write_bytes(b"of another network")
    jasper.export(directory, precision="int8", calibrate=manifest)
    assert (directory / "model.int8.onnx").is_file()
    assert not (directory / INT8_IN_PHASES).exists()


@needs_vnni
def test_in_phases_every_convolution_is_one_of_integers(exported):
    """Also the residuals', whose input is a concatenation of values that must all have one sign."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    compiled = core().compile_model(exported / INT8_IN_PHASES, "CPU", settings)
    request = compiled.create_infer_request()
    request.infer(dict(zip(("features", "lengths"), batch(), strict=True)))
    kernels = {n.node_name: n.exec_type for n in request.get_profiling_info() if n.node_type == "Convolution"}
    assert len(kernels) > 10
    assert all(kernel.endswith("_I8") for kernel in kernels.values()), kernels


@needs_vnni
def test_openvino_hands_integers_from_layer_to_layer(exported):
    model = core().compile_model(exported / "model.int8.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    written = {
        node.get_friendly_name().split("/")[0]: node.get_rt_info()["outputPrecisions"].astype(str)
        for node in model.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    }
    config = read_model(exported)[0]
    within = [
        f"blocks.{index}.convs.{place}"
        for index, block in enumerate(expand(config.network.blocks))
        for place in range(block.repeat - 1)
    ]
    assert within
    assert {written[name] for name in within} == {"u8"}, written


@needs_vnni
def test_every_convolution_is_stored_in_8_bits_a_scale_a_filter(exported):
    graph = onnx.load(exported / "model.int8.onnx").graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    float_weights = {name for name, value in stored.items() if value.dtype == np.float32 and value.ndim == 4}
    assert not float_weights
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    weights = [name for name in stored if name.endswith(".weight.rounded")]
    assert len(weights) == len(convolutions)
    for name in weights:
        assert stored[name].dtype == np.int8
        filters = len(stored[name])
        assert stored[name.replace(".rounded", ".scales")].shape == (filters,)
        assert np.abs(stored[name]).reshape(filters, -1).max(axis=1).min() == 127


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_the_file_that_was_written_is_scored_wherever_it_is(exported, manifest, tmp_path, ending):
    """And not one of the model directory, that an earlier command left there."""
    directory = write_small_model(tmp_path / "m")
    out = tmp_path / "elsewhere" / f"x{ending}"
    command = [COMMAND, "export", directory, "--precision", "int8", "--calibrate", manifest, "--out", out]
    command += ["--format", "openvino"] if ending == ".xml" else []
    (directory / "model.int8.xml").write_text("no graph at all")
    done = subprocess.run(
        [*command, "--score", manifest, "--json"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["wer"]) == {"fp32", "int8"}
    refused = subprocess.run(
        [*command, "--score", manifest, "--waveform"], capture_output=True, text=True, timeout=240
    )
    assert (refused.returncode, "--score" in refused.stderr) == (2, True)


def test_scales_of_values_are_scalars_that_older_runtimes_ask_for(exported):
    """ONNX Runtime up to 1.28 at least refuses a sum of values whose scale is a list of one."""
    graph = onnx.load(exported / "model.int8.onnx").graph
    stored = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    rounding = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert rounding
    assert all(stored[name] == [] for node in rounding for name in node.input[1:])


@needs_vnni
def test_a_layer_that_8_bits_would_hurt_stays_in_float(tmp_path, manifest):
    config, weights = read_model(write_small_model(tmp_path / "m"))
    hurt = "blocks.2.convs.0"
    # One weight a filter so large that the others round to nothing; it meets a channel that is always zero.
    weights = {name: value.copy() for name, value in weights.items()}
    for norm in ("norms.1", "residual_norms.0"):
        weights[f"blocks.1.{norm}.weight"][0] = weights[f"blocks.1.{norm}.bias"][0] = 0
    weights[f"{hurt}.weight"][:, 0, 0] = 1000
    clips = calibration_features(config, read_manifest(manifest))
    plan = plan_int8(config, weights, clips)
    assert plan.kept == (hurt,)
    assert plan.divergence < 0.02 < plan.divergence_of_all
    graph = plan.apply(build_graph(config, weights)).graph
    in_float = [
        t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 4
    ]
    assert in_float == [f"{hurt}.weight"]


def test_calibration_takes_clips_from_all_of_a_manifest(manifest, monkeypatch):
    monkeypatch.setattr(import_module("jasper.export.quantize"), "NUM_CLIPS", 3)
    clips = calibration_features(small_config(), read_manifest(manifest))
    assert [clip.shape for clip in clips] == [(64, 50), (64, 107), (64, 182)]


def test_int8_without_speech_to_calibrate_on_is_an_error(exported, tmp_path):
    with pytest.raises(ModelError, match="name a manifest of some with --calibrate"):
        jasper.export(exported, precision="int8")
    with pytest.raises(ModelError, match="there is no speech to calibrate"):
        calibration_features(small_config(), [])


@needs_vnni
def test_what_stays_in_float_does_so_in_phases(tmp_path):
    config, weights = read_model(write_small_model(tmp_path / "m"))
    graph = build_graph(config, weights)
    kept = "blocks.2.convs.0"
    layers = tuple(layer for layer in layers_of(graph) if layer != kept)
    clips = [np.random.default_rng(0).standard_normal((64, 90)).astype(np.float32)]
    phased = Int8Plan(layers, (kept,), measure_ranges(graph, clips), 0.0, 0.0).in_phases(config, weights)
    in_float = {
        array.name
        for array in phased.graph.initializer
        if array.data_type == onnx.TensorProto.FLOAT and len(array.dims) == 4
    }
    assert in_float == {f"{kept}{TRIO}{one}.weight" for one in ("even", "both", "odd")}
