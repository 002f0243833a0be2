"""Compiled features against NumPy's: any settings, any length, any thread; and when they take over."""

from __future__ import annotations

import math
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper import compiled_features
from jasper.audio import read_audio
from jasper.config import FeatureConfig
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES as NVIDIA
from jasper.data.manifest import read_manifest
from jasper.errors import AudioError
from jasper.features import FeatureExtractor

pytest.importorskip("numba")

TOLERANCE = 1e-9  # of a logarithm; of the transforms' rounding little is left under a guard of 2^-24
SINGLE = 2e-4  # of a normalised feature, in single precision, of speech as loud as can be
SINGLE_TONES = 2e-3  # the same, where bands beside a pure tone of full scale fade to almost nothing

configs = st.builds(
    FeatureConfig,
    frame_count=st.sampled_from(["ceil", "floor"]),
    edges=st.sampled_from(["reflect", "zeros"]),
    n_fft=st.sampled_from([512, 1024, 2048]),
    num_mels=st.sampled_from([1, 64, 80, 200]),  # of 200 some have no frequency at all
    window_ms=st.sampled_from([20.0, 25.0, 5.0, 15.0625]),  # the last has 241 samples
    hop_ms=st.sampled_from([10.0, 30.0, 6.3125]),
    preemphasis=st.sampled_from([0.97, 0.0]),
    log_guard=st.sampled_from(["add", "clamp"]),
)
NEMO = FeatureConfig(frame_count="floor", edges="zeros")
LENGTHS = (1, 2, 159, 160, 161, 255, 256, 257, 320, 64 * 160, 64 * 160 + 1, 90_000)


def noise(size: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(size).standard_normal(size)).astype(np.float32)


def both(config: FeatureConfig, threads: int = 1) -> tuple[FeatureExtractor, FeatureExtractor]:
    compiled = FeatureExtractor(config, threads=threads, patience=0)
    assert compiled._compiled is not None
    return FeatureExtractor(config, patience=math.inf), compiled


@settings(max_examples=60, deadline=None)
@given(
    config=configs,
    size=st.one_of(st.sampled_from(LENGTHS), st.integers(1, 20_000)),
)
def test_they_are_those_of_numpy(config, size):
    numpy, compiled = both(config)
    expected = numpy.log_mel(noise(size))
    assert compiled.log_mel(noise(size)).shape == expected.shape
    np.testing.assert_allclose(compiled.log_mel(noise(size)), expected, rtol=0, atol=TOLERANCE)
    batch = [noise(size), noise(500)]
    np.testing.assert_allclose(compiled(batch)[0], numpy(batch)[0], rtol=0, atol=SINGLE)


@pytest.mark.parametrize("n_fft", [2, 4, 8, 16, 32, 64, 128, 256])
def test_short_transforms_are_those_of_numpy(n_fft):
    """Of radix 4 alone, with a last step of 2, of 2 alone, and of no step at all."""
    rate = 100 * n_fft  # the window fills the transform
    config = FeatureConfig(n_fft=n_fft, sample_rate=rate, window_ms=10.0, hop_ms=10.0, num_mels=2)
    numpy, compiled = both(config)
    np.testing.assert_allclose(
        compiled.log_mel(noise(5000)), numpy.log_mel(noise(5000)), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("edges", ["reflect", "zeros"])
def test_silence_and_speech_of_telephones_are_those_of_numpy(edges):
    """With NVIDIA's guard, 1e-20, the logarithm sees every rounding error of a band that is almost silent."""
    config = NVIDIA.model_copy(update={"edges": edges})
    numpy, compiled = both(config)
    loud = noise(32000)
    loud[8000:16000] = 0
    narrow = np.fft.irfft(np.where(np.arange(16001) < 8000, np.fft.rfft(loud), 1e-4)).astype(np.float32)
    for wave in (np.zeros(8000, np.float32), loud, narrow):
        np.testing.assert_allclose(compiled([wave])[0], numpy([wave])[0], rtol=0, atol=4e-5)


@pytest.mark.parametrize("base", [FeatureConfig(), NEMO], ids=["nvidia", "nemo"])
def test_speech_has_the_features_of_numpy_however_loud_it_is(speech, base):
    """Wide band, and the band of telephones, where most of what is above 4 kHz is rounding."""
    wide = read_manifest(speech / "librispeech-test-clean-mini" / "test.jsonl")[:6]
    narrow = read_manifest(speech / "fsdd" / "dev.jsonl")[:100:20]
    numpy, compiled = both(base)
    for utterance in (*wide, *narrow):
        wave = read_audio(utterance.path, 16000)
        for peak in (1e-4, 1e-2, 0.2, 1.0, 30.0):
            scaled = wave * np.float32(peak / np.abs(wave).max())
            np.testing.assert_allclose(compiled([scaled])[0], numpy([scaled])[0], rtol=0, atol=SINGLE)


def tone(hz: float, size: int) -> np.ndarray:
    """A wave (N,) that swells and fades away."""
    return np.sin(2 * np.pi * hz / 16000 * np.arange(size)) * np.sin(np.arange(size) / 3000)


sounds = st.builds(
    lambda hz, loud, hiss, size, silent: silenced(loud * tone(hz, size) + hiss * noise(size), silent),
    hz=st.floats(20, 7990),
    loud=st.sampled_from([0.0, 1e-3, 0.1, 0.99, 1e4]),
    hiss=st.sampled_from([0.0, 1e-6, 1e-4, 1e-2, 1.0, 1e4]),
    size=st.integers(2000, 40_000),
    silent=st.sampled_from([0.0, 0.5, 0.99]),
)


def silenced(wave: np.ndarray, part: float) -> np.ndarray:
    """A wave (N,) whose first `part` is digital silence."""
    wave[: int(part * wave.size)] = 0
    return wave.astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(wave=sounds)
def test_tones_noise_and_silence_have_the_features_of_numpy(wave):
    numpy, compiled = both(FeatureConfig())
    np.testing.assert_allclose(compiled([wave])[0], numpy([wave])[0], rtol=0, atol=SINGLE_TONES)


def test_an_hour_has_the_features_of_numpy():
    """Its mean and its deviation are sums over 360,000 frames."""
    numpy, compiled = both(FeatureConfig(), threads=2)
    wave = np.tile(noise(160_000), 360) * np.linspace(0.01, 1, 57_600_000, dtype=np.float32)
    np.testing.assert_allclose(compiled([wave])[0], numpy([wave])[0], rtol=0, atol=SINGLE)


@pytest.mark.parametrize("config", [NEMO, FeatureConfig(window_ms=5.0)], ids=["overlap", "gaps"])
@pytest.mark.parametrize("place", [0, 30_000, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_refused_wherever_it_is(config, place, value):
    _, compiled = both(config, threads=2)
    for size in (100, 60_100):  # of which the frames leave a rest, or all
        wave = noise(size)
        wave[min(place, size - 1)] = value
        with pytest.raises(AudioError, match="not finite"):
            compiled([wave])


def test_a_clip_has_the_same_features_in_a_batch_and_in_threads():
    waves = [noise(size) for size in (160, 50_000, 1_100_001)]  # the last is worth three threads
    one, three = (both(FeatureConfig(), threads)[1] for threads in (1, 3))
    batch, lengths = three(waves)
    for row, wave, length in zip(batch, waves, lengths, strict=True):
        np.testing.assert_array_equal(row[:, :length], one([wave])[0][0])
        assert not row[:, length:].any()


def test_a_wave_with_gaps_in_memory_is_taken():
    numpy, compiled = both(FeatureConfig())
    wave = np.repeat(noise(4000), 2)[::2]
    np.testing.assert_allclose(compiled.log_mel(wave), numpy.log_mel(wave), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("change", [{"n_fft": 400}, {"power": 1.0}])
def test_what_they_cannot_do_is_left_to_numpy(change):
    config = FeatureConfig(**change)
    assert compiled_features.compile_features(config, 1) is None
    np.testing.assert_array_equal(
        FeatureExtractor(config, patience=0).log_mel(noise(2000)),
        FeatureExtractor(config, patience=math.inf).log_mel(noise(2000)),
    )


def test_without_numba_numpy_does_it(monkeypatch):
    monkeypatch.setattr(compiled_features, "compiles", lambda: False)
    extractor = FeatureExtractor(FeatureConfig(), patience=0)
    expected = FeatureExtractor(FeatureConfig(), patience=math.inf).log_mel(noise(2000))
    np.testing.assert_array_equal(extractor.log_mel(noise(2000)), expected)


def test_they_take_over_when_they_pay():
    """A short command does not wait for a compiler."""
    code = """
import sys, numpy as np
from jasper.config import FeatureConfig
from jasper.features import FeatureExtractor, PATIENCE
extractor = FeatureExtractor(FeatureConfig())
minute = np.zeros(60 * 16000, np.float32)
for passed in range(1, 100):
    extractor.log_mel(minute)
    if "numba" in sys.modules:
        break
print(passed * 60 - PATIENCE)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 0


def _child(extractor: FeatureExtractor, wave: np.ndarray, results: multiprocessing.SimpleQueue) -> None:
    results.put(extractor.log_mel(wave))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork")
def test_a_process_that_was_forked_has_threads_of_its_own():
    """It waited for those of its parent for ever."""
    _, compiled = both(FeatureConfig(), threads=2)
    wave = noise(1_000_000)
    expected = compiled.log_mel(wave)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_child, args=(compiled, wave, results), daemon=True)
    child.start()
    try:
        child.join(0.01)
        assert results._reader.poll(60)
        np.testing.assert_array_equal(results.get(), expected)
    finally:
        child.kill()
        child.join(60)
