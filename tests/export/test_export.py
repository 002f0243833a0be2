"""Exported files, run by their runtimes alone, against the network of PyTorch; and what may go wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import randomize, small_config, stacks, write_small_model

import jasper
from jasper.bundle import read_model_config, write_bundle
from jasper.config import FeatureConfig, ModelConfig, NetworkConfig
from jasper.errors import JasperError, ModelError
from jasper.export import FORMATS
from jasper.export.check import TOLERANCES
from jasper.export.reference import reference_log_probs
from jasper.features import FeatureExtractor
from jasper.graph import build_graph
from jasper.graph.metadata import read_metadata
from jasper.nn.weights import build_network, load_network, network_weights

TOLERANCE = 1e-4
ROUNDING = 2e-6  # of the value: a random network's log-probabilities may be hundreds below zero
WAVEFORM_TOLERANCE = 2e-3
ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
COMMAND = Path(sys.executable).with_name("jasper")


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


HERE = [name for name in FORMATS if name != "mindir"]  # that one has tests/mindspore/test_mindir.py


def ragged(*lengths: int) -> tuple[np.ndarray, np.ndarray]:
    features = np.full((len(lengths), 64, max(lengths)), 50.0, dtype=np.float32)
    rng = np.random.default_rng(0)
    for row, length in zip(features, lengths, strict=True):
        row[:, :length] = rng.standard_normal((64, length))
    return features, np.array(lengths)


def by_pytorch(directory: Path, features: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        log_probs, out = load_network(directory).eval()(torch.from_numpy(features), torch.from_numpy(lengths))
    return log_probs.numpy(), out.numpy()


def assert_close(found, expected, tolerance=TOLERANCE):
    np.testing.assert_array_equal(found[1], expected[1])
    for row, other, length in zip(found[0], expected[0], expected[1], strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=tolerance, rtol=0)


def run_alone(path: Path, first: str, values: np.ndarray, lengths: np.ndarray):
    """What a program without this package would do."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        assert [node.name for node in session.get_inputs()] == [first, "lengths"]
        return session.run(["log_probs", "log_probs_lengths"], {first: values, "lengths": lengths})
    if path.suffix == ".xml":
        from jasper.graph.openvino import core

        compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result = compiled({first: values, "lengths": lengths})
        return result["log_probs"], result["log_probs_lengths"]
    program = torch.export.load(path).module()
    with torch.inference_mode():
        return tuple(x.numpy() for x in program(torch.from_numpy(values), torch.from_numpy(lengths)))


@pytest.mark.parametrize("format", HERE)
def test_a_file_runs_alone_on_any_batch_and_any_length(directory, tmp_path, format):
    path = jasper.export(directory, format, out=tmp_path / f"x{ENDINGS[format]}").path
    for lengths in ((40,), (7, 33, 90), (200, 5, 61, 60, 59)):
        batch = ragged(*lengths)
        assert_close(run_alone(path, "features", *batch), by_pytorch(directory, *batch))


@pytest.mark.parametrize("format", HERE)
def test_a_file_that_takes_waves_needs_no_front_end(directory, tmp_path, format):
    path = jasper.export(directory, format, waveform=True, out=tmp_path / f"x{ENDINGS[format]}").path
    rng = np.random.default_rng(0)
    lengths = np.array([8000, 1601, 20000])
    waves = (0.1 * rng.standard_normal((3, 20000))).astype(np.float32)
    features = FeatureExtractor(FeatureConfig())([wave[:n] for wave, n in zip(waves, lengths, strict=True)])
    found = run_alone(path, "waves", waves, lengths)
    assert_close(found, by_pytorch(directory, *features), WAVEFORM_TOLERANCE)


@pytest.mark.parametrize("format", HERE)
def test_a_file_that_takes_waves_has_nemos_settings(tmp_path, format):
    numbers = {"fixed_mean": (-6.5,) * 80, "fixed_std": (2.5,) * 80}
    spliced = {"num_mels": 40, "frame_splicing": 2, "exact_pad": True}
    settings = {"frame_count": "floor", "edges": "zeros", "normalize": "fixed", **spliced, **numbers}
    model = write_small_model(tmp_path / "m", **settings)
    path = tmp_path / f"x{ENDINGS[format]}"
    jasper.export(model, format, waveform=True, check=True, out=path)


FRONT_ENDS = st.fixed_dictionaries(
    {
        "window_ms": st.sampled_from([20.0, 25.0, 32.0]),
        "preemphasis": st.sampled_from([0.0, 0.97]),
        "window": st.sampled_from(["hann", "hamming", "blackman", "bartlett", "rectangular"]),
        "power": st.sampled_from([1.0, 2.0]),
        "mel_norm": st.sampled_from(["slaney", "none"]),
        "log_offset": st.sampled_from([2.0**-24, 1e-10]),
        "log_guard": st.sampled_from(["add", "clamp"]),
        "frame_count": st.sampled_from(["ceil", "floor"]),
        "edges": st.sampled_from(["reflect", "zeros"]),
        "normalize": st.sampled_from(["per_feature", "all_features", "none"]),
        "num_mels": st.sampled_from([40, 64, 80]),
    }
)


NEMO_FRONT_ENDS = st.fixed_dictionaries(
    {
        "preemphasis": st.sampled_from([0.0, 0.97]),
        "frame_count": st.just("floor"),
        "edges": st.just("zeros"),
        "normalize": st.sampled_from(["per_feature", "all_features", "none"]),
        "exact_pad": st.booleans(),
        "frame_splicing": st.integers(1, 2),
        "log": st.booleans(),
        "log_offset": st.just(2.0**-24),
    }
)


@given(FRONT_ENDS | NEMO_FRONT_ENDS, st.lists(st.integers(1, 6000), min_size=1, max_size=3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_front_end_in_the_graph_is_ours(front_end, lengths, telephone):
    """With every setting; the padding after a row is noise too, and telephone speech has empty bands."""
    # Reflected over and over, a short wave is periodic: between its lines is only noise of rounding, which
    # without a floor under the logarithm is any number.
    assume(front_end["log_offset"] > 1e-10 or min(lengths) > 600)
    config = small_config(**front_end)
    rng = np.random.default_rng(len(lengths))
    waves = 0.1 * rng.standard_normal((len(lengths), max(lengths)))
    if telephone:
        waves = np.repeat(waves[:, ::2], 2, axis=1)[:, : max(lengths)] * 0.01
    waves = waves.astype(np.float32)
    graph = build_graph(config, random_weights(config), waveform=True)
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["b", "f", "t"])
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (found,) = session.run(["features"], {"waves": waves, "lengths": np.array(lengths)})
    extractor = FeatureExtractor(config.features)
    expected, frames = extractor([wave[:n] for wave, n in zip(waves, lengths, strict=True)])
    for row, other, length in zip(found, expected, frames, strict=True):
        np.testing.assert_allclose(row[:, :length], other[:, :length], atol=WAVEFORM_TOLERANCE, rtol=0)


def random_weights(config: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    return network_weights(randomize(build_network(config), seed))


@given(stacks(), st.integers(1, 60), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_the_reference_in_numpy_is_the_network(blocks, length, seed):
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    network = randomize(build_network(config), seed)
    features, lengths = ragged(length)
    found = reference_log_probs(config.network, network_weights(network), features[0])
    with torch.inference_mode():
        expected = network(torch.from_numpy(features), torch.from_numpy(lengths))[0][0].numpy()
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=ROUNDING)


def test_the_graph_is_valid_and_says_what_it_is(directory, tmp_path):
    path = jasper.export(directory, out=tmp_path / "x.onnx").path
    onnx.checker.check_model(path, full_check=True)
    written = onnx.load(path, load_external_data=False)
    assert (written.ir_version, written.opset_import[0].version) == (8, 18)  # ONNX Runtime 1.15 reads these
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    config = read_model_config(directory)
    assert read_metadata(metadata, str(path)) == config
    assert json.loads(metadata["labels"]) == list(config.text.labels)
    assert (metadata["blank"], metadata["sample_rate"], metadata["step_ms"]) == ("28", "16000", "20")
    assert "Dropout" not in {node.op_type for node in onnx.load(path).graph.node}


def test_openvino_and_torch_files_say_what_they_are(directory, tmp_path):
    from jasper.graph.openvino import core

    path = jasper.export(directory, "openvino", precision="bf16", out=tmp_path / "x.xml").path
    model = core().read_model(path)
    assert model.get_rt_info(["jasper", "precision"]).value == "bf16"
    info = {"jasper_config": model.get_rt_info(["jasper", "jasper_config"]).value}
    assert read_metadata(info, str(path)) == read_model_config(directory)
    path = jasper.export(directory, "torch", out=tmp_path / "x.pt2").path
    files = {"metadata/jasper_config": ""}
    torch.export.load(path, extra_files=files)
    assert read_metadata({"jasper_config": files["metadata/jasper_config"]}, "") == read_model_config(
        directory
    )


def test_labels_stand_beside_an_onnx_file_as_sherpa_reads_them(directory, tmp_path):
    exported = jasper.export(directory, out=tmp_path / "x.onnx")
    lines = (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["▁ 0", "a 1"]
    assert lines[-2:] == ["' 27", "<blk> 28"]
    assert exported.files == (tmp_path / "x.onnx", tmp_path / "tokens.txt")
    metadata = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert metadata["vocab_size"] == "29"
    assert metadata["subsampling_factor"] == "2"
    assert metadata["normalize_type"] == "per_feature"


@pytest.mark.parametrize(
    ("format", "precision"),
    [(f, p) for f in HERE for p in ("fp32", "fp16", "bf16") if (f, p) != ("onnx", "bf16")],
)
def test_a_checked_file_says_how_far_it_is_from_the_model(tmp_path, directory, format, precision):
    exported = jasper.export(
        directory, format, precision=precision, check=True, out=tmp_path / f"x{ENDINGS[format]}"
    )
    assert exported.difference is not None
    assert exported.difference <= TOLERANCES[precision]
    if precision != "fp32":
        assert exported.difference > 1e-6  # or it was not computed in that precision


def test_a_difference_over_the_tolerance_leaves_what_was_there(directory, tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_text("older")
    monkeypatch.setitem(TOLERANCES, "fp32", 1e-12)
    with pytest.raises(ModelError, match=r"x\.onnx: is .* from the model, which is more than 1e-12"):
        jasper.export(directory, check=True, out=tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_file_without_masks_would_be_found(directory, tmp_path, monkeypatch):
    """Their loss is a known fault of exporters: padding then reaches the last steps of shorter rows."""
    from jasper.export.source import Source

    def without_masks(self, half=False):
        graph = build_graph(self.config, self.weights)
        for node in graph.graph.node:
            if node.name.endswith(".masked"):
                node.op_type = "Identity"
                del node.input[1:]
        return graph

    monkeypatch.setattr(Source, "graph", without_masks)
    with pytest.raises(ModelError, match="from the model"):
        jasper.export(directory, check=True, out=tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "abacus"}, "format 'abacus' is unknown; known are onnx, openvino, torch"),
        ({"precision": "bf16"}, "format onnx has no bf16; it has fp32, fp16, int8"),
        ({"format": "openvino", "out": "x.onnx"}, r"a file of format openvino ends in \.xml"),
        ({"out": "/dev/null/x.onnx"}, "could not be written"),
    ],
)
def test_what_cannot_be_exported_is_an_error(directory, settings, message):
    with pytest.raises(JasperError, match=message):
        jasper.export(directory, **settings)


def test_the_command_writes_into_the_model_directory(directory, tmp_path):
    model = shutil.copytree(directory, tmp_path / "model")
    command = [COMMAND, "export", model, "--waveform", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    path, difference = done.stdout.splitlines()
    assert path == str(model / "model.waveform.onnx")
    assert Path(path).is_file()
    assert difference.startswith("largest difference from the model: ")
    wrong = subprocess.run([*command, "--precision", "bf16"], capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2
    assert wrong.stderr == "jasper: format onnx has no bf16; it has fp32, fp16, int8\n"


def test_exporting_to_onnx_needs_no_pytorch(directory, tmp_path):
    code = f"""
import sys, jasper
jasper.export({str(directory)!r}, waveform=True, check=True, out={str(tmp_path / "x.onnx")!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_graph_of_another_maker_is_refused():
    with pytest.raises(ModelError, match=r"y\.onnx: was not written by `jasper export`"):
        read_metadata({}, "y.onnx")


def test_subword_labels_keep_their_mark(tmp_path):
    """Labels that begin a word begin with a space here, and with ▁ in sherpa-onnx's tokens."""
    from jasper.export.onnx import token_lines

    assert token_lines((" the", "s", " ")) == "▁the 0\ns 1\n▁ 2\n<blk> 3\n"


def test_write_bundle_keeps_the_directory_loadable(directory, tmp_path):
    model = shutil.copytree(directory, tmp_path / "model")
    jasper.export(model)
    assert write_bundle(model, read_model_config(model), random_weights(read_model_config(model))) == model
