"""Every engine gives what the network of PyTorch gives: any network, any lengths, together as alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import randomize, small_config, stacks, write_small_model

import jasper
from jasper import engines
from jasper.bundle import write_bundle
from jasper.config import EngineConfig, ModelConfig, NetworkConfig
from jasper.decode import greedy
from jasper.directory import cache_folder
from jasper.engines import Engine, load_engine
from jasper.engines.graphs import engine_folder
from jasper.errors import ModelError
from jasper.nn.weights import build_network, load_network, network_weights
from jasper.types import FloatArray, IntArray

TOLERANCE = 1e-4
ROUNDING = 2e-6  # of the value: a random network's log-probabilities may be hundreds below zero
NAMES = ["openvino", "onnx", "torch"]  # MindSpore has an environment and tests of its own
NUM_MELS = 64


def batch(lengths: list[int], seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Rows of noise, and in the padding something large that must not reach a valid step."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((len(lengths), NUM_MELS, max(1, *lengths))).astype(np.float32)
    for row, length in zip(features, lengths, strict=True):
        row[:, length:] = 100.0
    return features, np.array(lengths, dtype=np.int64)


def reference(directory: Path, features: FloatArray, lengths: IntArray) -> tuple[FloatArray, IntArray]:
    """What the network of training gives in evaluation mode, nothing folded."""
    with torch.inference_mode():
        log_probs, out = load_network(directory).eval()(torch.from_numpy(features), torch.from_numpy(lengths))
    return log_probs.numpy(), out.numpy()


def assert_same(
    found: tuple[FloatArray, IntArray], expected: tuple[FloatArray, IntArray], tolerance: float = TOLERANCE
) -> None:
    assert found[0].shape == expected[0].shape
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(found[1], expected[1])
    for row, other, length in zip(found[0], expected[0], expected[1], strict=True):
        np.testing.assert_allclose(row[:length], other[:length], atol=tolerance, rtol=ROUNDING)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module", params=NAMES)
def engine(request, directory) -> Engine:
    return load_engine(directory, EngineConfig(engine=request.param))


@pytest.mark.parametrize("name", NAMES)
@given(
    blocks=stacks(),
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=25, deadline=None)
def test_any_network_and_any_lengths(name, blocks, lengths, seed):
    config = small_config().model_copy(update={"network": NetworkConfig(blocks=blocks)})
    with tempfile.TemporaryDirectory() as folder:
        directory = write_bundle(Path(folder, "m"), config, random_weights(config, seed))
        features = batch(lengths, seed)
        found = load_engine(directory, EngineConfig(engine=name)).log_probs(*features)
        assert_same(found, reference(directory, *features))


def random_weights(config: ModelConfig, seed: int) -> dict[str, np.ndarray]:
    return network_weights(randomize(build_network(config), seed))


def test_a_batch_shuffled_and_one_by_one(engine):
    features, lengths = batch([37, 120, 1, 64, 200, 9])
    log_probs, out = engine.log_probs(features, lengths)
    order = np.array([3, 0, 5, 1, 4, 2])
    shuffled = engine.log_probs(features[order], lengths[order])
    assert_same(shuffled, (log_probs[order], out[order]))
    for row, length in enumerate(lengths):
        alone = engine.log_probs(features[row : row + 1, :, :length], lengths[row : row + 1])
        valid = log_probs[row : row + 1, : out[row]]
        assert_same(alone, (valid, out[row : row + 1]))
        assert greedy(*alone, blank=28)[0].tokens == greedy(valid, out[row : row + 1], blank=28)[0].tokens


def test_the_text_is_the_same_on_every_engine(directory):
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(n).astype(np.float32) * np.float32(0.1) for n in (700, 16000, 33333)]
    texts = {}
    for name in NAMES:
        model = jasper.load(directory, engine=name)
        texts[name] = [model.tokenizer.decode(r.hypothesis.tokens) for r in model.recognize(waves)]
    assert len(texts["torch"][2]) > 3
    assert all(found == texts["torch"] for found in texts.values())


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_engine_without_pytorch_never_loads_it(directory, name, tmp_path):
    code = f"""
import sys, numpy, jasper
model = jasper.load({str(directory)!r}, engine={name!r})
print(model.transcribe(numpy.zeros(16000, numpy.float32)).text)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_auto_says_which_engine_it_took(directory, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    command = [Path(sys.executable).with_name("jasper"), "transcribe", directory, tmp_path / "a.wav"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "engine: onnx, fp32\n" in done.stderr
    named = subprocess.run(
        [*command, "--engine", "openvino"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "engine:" not in named.stderr
    assert named.stdout == done.stdout


def test_the_base_installation_transcribes(directory):
    """Of what is optional nothing can be imported: ONNX Runtime does it."""
    code = f"""
import sys
for name in ("torch", "openvino", "mindspore", "numba", "matplotlib", "fsspec", "av"):
    sys.modules[name] = None
import numpy, jasper
model = jasper.load({str(directory)!r}, device="cpu")
model.transcribe(numpy.zeros(16000, numpy.float32))
print(model.engine.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "onnx\n", done.stderr


@pytest.mark.parametrize(
    ("settings", "accelerator", "first"),
    [
        ({}, False, "onnx"),
        ({}, True, "torch"),
        ({"device": "cpu"}, True, "onnx"),
        ({"device": "cuda"}, False, "torch"),
        ({"precision": "int8"}, True, "openvino"),
        ({"engine": "onnx"}, True, "onnx"),
    ],
)
def test_auto_prefers_what_suits_the_machine(monkeypatch, settings, accelerator, first):
    monkeypatch.setattr(engines, "_has_accelerator", lambda: accelerator)
    assert engines.candidates(EngineConfig(**settings))[0] == first


def test_auto_goes_on_to_an_engine_that_has_the_precision_here(directory, monkeypatch):
    from jasper.engines import openvino

    monkeypatch.setattr(engines, "_has_accelerator", lambda: False)
    monkeypatch.setitem(openvino.NEEDED, "fp16", "what no processor has")
    assert load_engine(directory, EngineConfig(precision="fp16")).name == "onnx"
    with pytest.raises(ModelError, match="computes no fp16; with OpenVINO take fp32"):
        load_engine(directory, EngineConfig(engine="openvino", precision="fp16"))
    with pytest.raises(ModelError, match="not one of OpenVINO's here"):  # ONNX Runtime has none either
        load_engine(directory, EngineConfig(precision="int8", device="cuda"))


def test_an_engine_that_is_not_installed_is_named_with_what_is_missing(directory, monkeypatch):
    for name in ("openvino", "torch"):
        monkeypatch.setitem(engines.ENGINES, name, (f"jasper.engines.no_{name}", "load"))
    with pytest.raises(ModelError, match=r"engine openvino is not installed \(.*no_openvino"):
        load_engine(directory, EngineConfig(precision="bf16", device="cpu"))


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_model_that_changed_is_not_taken_from_the_cache(tmp_path, name):
    features = batch([50])
    for seed in range(3):
        directory = write_small_model(tmp_path / "m", seed=seed)
        found = load_engine(directory, EngineConfig(engine=name)).log_probs(*features)
        assert_same(found, reference(directory, *features))
    place = engine_folder(directory).name.partition("-")[0]
    assert len(list((cache_folder() / "engines").glob(f"{place}-*"))) == 1


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_exported_file_stands_for_the_weights(directory, name, tmp_path):
    """A model that is shipped: its configuration and what was exported."""
    (tmp_path / "shipped").mkdir()
    shutil.copy(directory / "config.yaml", tmp_path / "shipped")
    jasper.export(directory, out=tmp_path / "shipped" / "model.onnx")
    features = batch([50, 20])
    model = jasper.load(tmp_path / "shipped", engine=name)
    assert_same(model.log_probs(*features), reference(directory, *features))
    with pytest.raises(ModelError, match=r"model\.int8\.onnx is not there"):
        jasper.load(tmp_path / "shipped", engine=name, precision="int8")
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        jasper.load(tmp_path / "shipped", engine="torch")


def test_models_that_are_gone_leave_nothing_in_the_cache(tmp_path):
    gone, kept = (write_small_model(tmp_path / name) for name in ("gone", "kept"))
    folder = engine_folder(gone)
    shutil.rmtree(gone)
    assert engine_folder(kept) == engine_folder(kept)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_without_a_place_for_the_cache_engines_run_all_the_same(directory, name, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    features = batch([50])
    found = load_engine(directory, EngineConfig(engine=name)).log_probs(*features)
    assert_same(found, reference(directory, *features))


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_weights_that_do_not_fit_are_named(tmp_path, name):
    config = small_config()
    weights = random_weights(config, 0)
    del weights["head.bias"]
    directory = write_bundle(tmp_path / "m", config, weights)
    with pytest.raises(ModelError, match=r"head\.bias is missing"):
        load_engine(directory, EngineConfig(engine=name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "onnx", "precision": "bf16"}, "engine onnx computes no bf16; take fp32, fp16, int8"),
        ({"engine": "onnx", "device": "abacus"}, "not available to ONNX Runtime"),
        ({"engine": "openvino", "device": "cuda"}, "not one of OpenVINO's"),
        ({"engine": "onnx", "precision": "int8"}, r"model\.int8\.onnx is not there"),
        ({"engine": "torch", "precision": "int8"}, "engine torch computes no int8"),
    ],
)
def test_what_an_engine_cannot_do_is_an_error(directory, settings, message):
    with pytest.raises(ModelError, match=message):
        load_engine(directory, EngineConfig(**settings))


@pytest.mark.parametrize("name", NAMES)
def test_threads_are_a_setting(directory, name):
    features = batch([80])
    threads = torch.get_num_threads()
    try:
        engine = load_engine(directory, EngineConfig(engine=name, threads=1))
        assert_same(engine.log_probs(*features), reference(directory, *features))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("name", "precision"), [("torch", "bf16"), ("torch", "fp16"), ("onnx", "fp16")])
def test_lower_precision_is_near(directory, name, precision):
    features = batch([80, 33])
    engine = load_engine(directory, EngineConfig(engine=name, precision=precision))
    assert engine.precision == precision
    assert_same(engine.log_probs(*features), reference(directory, *features), 0.3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_openvino_computes_what_the_processor_can(directory, precision):
    """Not every processor has it; then it is refused, and not done silently in another precision."""
    from jasper.graph.openvino import core

    settings = EngineConfig(engine="openvino", precision=precision)
    if precision.upper() not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ModelError, match=f"computes no {precision}"):
            load_engine(directory, settings)
        return
    features = batch([80, 33])
    engine = load_engine(directory, settings)
    assert_same(engine.log_probs(*features), reference(directory, *features), 0.3)


def test_a_signal_after_engines_have_come_and_gone_is_no_crash(directory):
    """Each of OpenVINO's cores changes the signal stack; gone in their order they left a dead one."""
    code = f"""
import faulthandler, os, signal
from pathlib import Path
from jasper.config import EngineConfig
from jasper.engines import load_engine
faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda number, frame: print("heard"))
engines = [load_engine(Path({str(directory)!r}), EngineConfig(engine="openvino")) for _ in range(3)]
while engines:
    del engines[0]
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "heard\n")
