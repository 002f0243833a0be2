"""The NumPy front end against NVIDIA's and NeMo's, alone against a batch, and against its PyTorch copy."""

from __future__ import annotations

import math
import time
from statistics import median

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jasper.audio import read_audio
from jasper.config import FeatureConfig
from jasper.convert.nvidia_yaml import NVIDIA_FEATURES as NVIDIA
from jasper.data.manifest import read_manifest
from jasper.errors import AudioError
from jasper.features import FeatureExtractor, analysis_window, mel_filters, num_frames
from jasper.nn import TorchFeatures

NEMO = FeatureConfig(frame_count="floor", edges="zeros")
GOLDEN_TOLERANCE = 2e-3  # golden/README.md
PARITY_TOLERANCE = 1e-4  # what TorchFeatures promises
EDGE_LENGTHS = (1, 2, 159, 160, 161, 255, 256, 257, 319, 320, 321)

configs = st.builds(
    FeatureConfig,
    frame_count=st.sampled_from(["ceil", "floor"]),
    edges=st.sampled_from(["reflect", "zeros"]),
    normalize=st.sampled_from(["per_feature", "all_features", "none"]),
    log_offset=st.sampled_from([1e-20, 2.0**-24]),
    preemphasis=st.sampled_from([0.97, 0.0]),
    window=st.sampled_from(["hann", "hamming", "blackman", "bartlett", "rectangular"]),
    log_guard=st.sampled_from(["add", "clamp"]),
    mel_norm=st.sampled_from(["slaney", "none"]),
    power=st.sampled_from([2.0, 1.0]),
)
nemo_configs = st.builds(
    FeatureConfig,
    frame_count=st.just("floor"),
    edges=st.just("zeros"),
    exact_pad=st.booleans(),
    frame_splicing=st.integers(1, 3),
    log=st.booleans(),
    normalize=st.sampled_from(["per_feature", "all_features", "none"]),
    preemphasis=st.sampled_from([0.97, 0.0]),
)
num_samples = st.one_of(st.sampled_from(EDGE_LENGTHS), st.integers(1, 5000))


def noise(size: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def torch_features(config: FeatureConfig, waves: list[np.ndarray], padding: float = 0.0):
    """The PyTorch copy in evaluation mode, with something in the padding that must not matter."""
    lengths = torch.tensor([wave.size for wave in waves])
    padded = torch.full((len(waves), int(lengths.max())), padding)
    for row, wave in zip(padded, waves, strict=True):
        row[: wave.size] = torch.from_numpy(wave)
    features, frames = TorchFeatures(config).eval()(padded, lengths)
    return features.numpy(), frames.numpy()


@pytest.fixture(scope="module")
def clips(speech) -> list[np.ndarray]:
    """Real speech at 16 kHz: three recordings of LibriSpeech and five of telephone band (8 kHz)."""
    wide = read_manifest(speech / "librispeech-test-clean-mini" / "test.jsonl")[:3]
    narrow = read_manifest(speech / "fsdd" / "dev.jsonl")[:100:20]
    return [read_audio(utterance.path, 16000) for utterance in (*wide, *narrow)]


@pytest.mark.parametrize("patience", [0, math.inf], ids=["compiled", "numpy"])
@pytest.mark.parametrize("together", [False, True])
def test_nvidia_features_are_reproduced(golden, together, patience):
    """Against NVIDIA's features of each clip alone; in its batch, padding leaks into the shorter clip."""
    theirs = np.load(golden / "features_nvidia.npz")
    waves = [theirs["wave0"], theirs["wave1"]]
    extractor = FeatureExtractor(NVIDIA, patience=patience)
    rows = extractor(waves)[0] if together else [extractor([wave])[0][0] for wave in waves]
    for index, length in enumerate(theirs["lengths"]):
        assert extractor.num_frames(waves[index].size) == length
        expected = theirs[f"single{index}"][:, :length]
        np.testing.assert_allclose(rows[index][:, :length], expected, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("patience", [0, math.inf], ids=["compiled", "numpy"])
@pytest.mark.parametrize("name", ["nemo_jasper", "nemo_quartznet"])
def test_nemo_features_are_reproduced(golden, name, patience):
    theirs = np.load(golden / f"{name}.npz")
    features, lengths = FeatureExtractor(NEMO, patience=patience)([theirs["wave0"], theirs["wave1"]])
    np.testing.assert_array_equal(lengths, theirs["lengths"])
    for row, length in enumerate(lengths):
        expected = theirs["features"][row, :, :length]
        np.testing.assert_allclose(features[row, :, :length], expected, atol=GOLDEN_TOLERANCE)


def test_the_defaults_count_frames_as_nvidia_does():
    config = FeatureConfig()
    assert [num_frames(config, n) for n in (1, 159, 160, 161, 16000)] == [1, 1, 1, 2, 100]
    assert [num_frames(NEMO, n) for n in (1, 159, 160, 161, 16000)] == [0, 0, 1, 1, 100]


@settings(max_examples=40, deadline=None)
@given(config=configs | nemo_configs, sizes=st.lists(num_samples, min_size=1, max_size=4))
def test_a_batch_is_exactly_each_wave_alone(config, sizes):
    waves = [noise(size, seed) for seed, size in enumerate(sizes)]
    extractor = FeatureExtractor(config)
    features, lengths = extractor(waves)
    assert features.dtype == np.float32
    assert features.shape == (len(waves), config.num_features, max([1, *lengths]))
    for row, (wave, length) in enumerate(zip(waves, lengths, strict=True)):
        assert length == extractor.num_frames(wave.size)
        np.testing.assert_array_equal(features[row, :, :length], extractor([wave])[0][0][:, :length])


@settings(max_examples=60, deadline=None)
@given(
    config=configs | nemo_configs,
    sizes=st.lists(num_samples, min_size=1, max_size=4),
    padding=st.sampled_from([0.0, 0.5]),
)
def test_torch_features_are_the_numpy_ones(config, sizes, padding):
    waves = [noise(size, seed) for seed, size in enumerate(sizes)]
    expected, expected_lengths = FeatureExtractor(config)(waves)
    features, lengths = torch_features(config, waves, padding)
    np.testing.assert_array_equal(lengths, expected_lengths)
    np.testing.assert_allclose(features, expected, atol=PARITY_TOLERANCE)


@pytest.mark.parametrize("normalize", ["per_feature", "all_features", "none"])
@pytest.mark.parametrize("base", [NVIDIA, NEMO], ids=["nvidia", "nemo"])
def test_torch_features_are_the_numpy_ones_on_real_speech(clips, base, normalize):
    """Telephone speech has almost nothing above 4 kHz, where single precision would show as noise."""
    config = base.model_copy(update={"normalize": normalize})
    expected, expected_lengths = FeatureExtractor(config)(clips)
    features, lengths = torch_features(config, clips)
    np.testing.assert_array_equal(lengths, expected_lengths)
    np.testing.assert_allclose(features, expected, atol=PARITY_TOLERANCE)


@pytest.mark.parametrize("config", [NVIDIA, NEMO], ids=["nvidia", "nemo"])
@pytest.mark.parametrize("size", EDGE_LENGTHS)
def test_the_shortest_waves_agree_and_are_finite(config, size):
    waves = [noise(size)]
    expected, lengths = FeatureExtractor(config)(waves)
    assert np.isfinite(expected).all()
    features, torch_lengths = torch_features(config, waves)
    np.testing.assert_array_equal(torch_lengths, lengths)
    np.testing.assert_allclose(features, expected, atol=PARITY_TOLERANCE)


@pytest.mark.parametrize("config", [NVIDIA, NEMO], ids=["nvidia", "nemo"])
@pytest.mark.parametrize("normalize", ["per_feature", "all_features", "none"])
def test_digital_silence_is_finite(config, normalize):
    config = config.model_copy(update={"normalize": normalize})
    silence = [np.zeros(8000, dtype=np.float32), noise(12000)]
    for features in (FeatureExtractor(config)(silence)[0], torch_features(config, silence)[0]):
        assert np.isfinite(features).all()
        if normalize == "per_feature":
            np.testing.assert_allclose(features[0], 0, atol=1e-6)


@pytest.mark.parametrize("compute", [lambda c, w: FeatureExtractor(c)(w), torch_features])
def test_mean_and_variance_are_of_valid_frames_alone(compute):
    """The superseded system took mean and variance over frames past the end of the utterance."""
    waves = [noise(4000, 1), noise(48000, 2)]
    features, lengths = compute(FeatureConfig(), waves)
    for row, length in zip(features, lengths, strict=True):
        np.testing.assert_allclose(row[:, :length].mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(row[:, :length].std(axis=1, ddof=1), 1, atol=1e-3)
        assert not row[:, length:].any()


@pytest.mark.parametrize("compute", [lambda c, w: FeatureExtractor(c)(w), torch_features])
def test_lengths_are_the_clips_own(compute):
    """The superseded system passed the padded lengths on, so up to 15 invented frames were decoded."""
    sizes = [16000, 15999, 12345, 16001]
    features, lengths = compute(FeatureConfig(), [noise(size) for size in sizes])
    assert lengths.tolist() == [100, 100, 78, 101]
    assert features.shape[2] == 101


def test_every_filter_has_unit_area():
    """As Slaney's have; those of few bins are sampled too coarsely to show it."""
    filters = mel_filters(FeatureConfig())
    assert filters.shape == (64, 257)
    areas = filters.sum(axis=1) * 16000 / 512
    np.testing.assert_allclose(areas[20:], 1, atol=0.1)
    centres = filters.argmax(axis=1) * 16000 / 512
    assert (np.diff(centres) >= 0).all()


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett"])
def test_windows_are_torchs_symmetric_ones(name):
    expected = getattr(torch, f"{name}_window")(320, periodic=False, dtype=torch.float64)
    np.testing.assert_allclose(analysis_window(FeatureConfig(window=name)), expected, atol=1e-12)


def test_a_guarded_logarithm_of_silence_is_that_of_the_guard():
    """Added or clamped to, 2^-24 is all that is left of silence; of speech only the sum changes."""
    for guard in ("add", "clamp"):
        config = FeatureConfig(normalize="none", log_guard=guard)
        features, _ = FeatureExtractor(config)([np.zeros(1600, dtype=np.float32)])
        np.testing.assert_allclose(features, np.log(2.0**-24), rtol=1e-6)
    quiet = 1e-3 * noise(1600)
    configs = [FeatureConfig(normalize="none", log_guard=guard) for guard in ("add", "clamp")]
    added, clamped = (FeatureExtractor(config)([quiet])[0] for config in configs)
    assert (added > clamped).all()
    np.testing.assert_allclose(added, clamped, atol=np.log(2) + 1e-6)


def test_filters_without_norm_are_triangles_of_height_one():
    config = FeatureConfig(mel_norm="none", n_fft=4096, num_mels=20)
    assert mel_filters(config).max(axis=1) == pytest.approx(1, abs=0.05)


def test_the_power_of_the_spectrum_is_a_setting():
    config = FeatureConfig(normalize="none", log_offset=1e-20, num_mels=1, fmin=0, fmax=8000)
    single = config.model_copy(update={"power": 1.0})
    energy, magnitude = (FeatureExtractor(c)([100 * noise(1600)])[0] for c in (config, single))
    assert (magnitude < energy).all()


def test_the_input_is_left_as_it_is():
    wave = noise(4000)
    kept = wave.copy()
    FeatureExtractor(FeatureConfig())([wave])
    np.testing.assert_array_equal(wave, kept)
    tensor = torch.from_numpy(wave.copy())[None]
    TorchFeatures(FeatureConfig(dither=0.1)).train()(tensor, torch.tensor([4000]))
    np.testing.assert_array_equal(tensor[0].numpy(), kept)


def test_dither_is_for_training_alone_and_reproducible():
    config = FeatureConfig(dither=1e-3)
    waves, lengths = torch.from_numpy(noise(8000))[None], torch.tensor([8000])
    module = TorchFeatures(config)

    def train(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return module.train()(waves, lengths)[0]

    assert torch.equal(train(1), train(1))
    assert not torch.equal(train(1), train(2))
    expected = FeatureExtractor(config)([waves[0].numpy()])[0]
    np.testing.assert_allclose(module.eval()(waves, lengths)[0].numpy(), expected, atol=PARITY_TOLERANCE)
    assert not np.allclose(train(1).numpy(), expected, atol=PARITY_TOLERANCE)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0, dtype=np.float32), "empty"),
        (np.zeros((2, 100), dtype=np.float32), r"shape \(2, 100\)"),
        (np.array([0, np.nan, 0], dtype=np.float32), "not finite"),
        (np.array([0, np.inf, 0], dtype=np.float32), "not finite"),
    ],
)
def test_a_wave_that_is_none_is_an_error(wave, message):
    with pytest.raises(AudioError, match=message):
        FeatureExtractor(FeatureConfig())([noise(1000), wave])


@pytest.mark.slow
def test_features_are_500_times_faster_than_real_time_on_one_core():
    """In processor time of all threads together, so that neighbours on the machine do not count."""
    extractor, waves = FeatureExtractor(FeatureConfig()), [noise(16 * 16000, seed) for seed in range(4)]
    extractor(waves)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        extractor(waves)
        seconds.append(time.process_time() - start)
    assert 4 * 16 / median(seconds) >= 500


def exact_log_mel(wave: np.ndarray, config: FeatureConfig) -> torch.Tensor:
    """Log-mel features (F, T) as PyTorch's transform finds them in a wave that is padded by `exact_pad`."""
    margin = (config.n_fft - config.hop_length) // 2
    signal = torch.nn.functional.pad(torch.from_numpy(wave).double(), (margin, margin))
    if config.preemphasis:
        signal[1:] -= config.preemphasis * signal[:-1].clone()
        signal[wave.size :] = 0  # counted with the padding in front: NeMo's, so its models know no other end
    window = torch.hann_window(config.window_length, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(
        signal, config.n_fft, config.hop_length, config.window_length, window, center=False,
        return_complex=True,
    )  # fmt: skip
    return torch.log(torch.from_numpy(mel_filters(config)) @ spectrum.abs() ** 2 + config.log_offset)


@pytest.mark.parametrize("size", [320, 1599, 1600, 16001])
@pytest.mark.parametrize("preemphasis", [0.97, 0.0])
def test_exact_pad_begins_half_a_hop_later_and_ends_a_frame_earlier(size, preemphasis):
    config = NEMO.model_copy(update={"exact_pad": True, "preemphasis": preemphasis})
    expected = exact_log_mel(noise(size), config)
    found = FeatureExtractor(config).log_mel(noise(size))
    assert found.shape[1] == size // 160 - 1 == expected.shape[1] - 1  # the last one NeMo counts as padding
    np.testing.assert_allclose(found, expected[:, :-1], atol=1e-9)


def test_spliced_frames_are_the_same_frame_again():
    """NeMo's splicing joins no neighbours: it puts each frame's parts together as they were."""
    config = NEMO.model_copy(update={"frame_splicing": 3})
    once, thrice = (FeatureExtractor(c)([noise(4000)])[0][0] for c in (NEMO, config))
    np.testing.assert_allclose(thrice, np.concatenate([once] * 3), atol=1e-6)
    assert config.num_features == 192


@pytest.mark.parametrize("compute", [lambda c, w: FeatureExtractor(c)(w), torch_features])
def test_means_and_deviations_may_be_those_of_all_utterances(compute):
    rng = np.random.default_rng(0)
    mean, std = rng.uniform(-9, -4, 64), rng.uniform(1, 4, 64)
    config = FeatureConfig(normalize="fixed", fixed_mean=tuple(mean), fixed_std=tuple(std))
    plain, lengths = FeatureExtractor(FeatureConfig(normalize="none"))([noise(4000), noise(1500)])
    features, _ = compute(config, [noise(4000), noise(1500)])
    for row, other, length in zip(features, plain, lengths, strict=True):
        expected = (other[:, :length] - mean[:, None]) / std[:, None]
        np.testing.assert_allclose(row[:, :length], expected, atol=1e-4)
        assert not row[:, length:].any()


def test_without_the_logarithm_features_are_energies():
    config = FeatureConfig(normalize="none", log_offset=1e-20)
    energies = FeatureExtractor(config.model_copy(update={"log": False}))([noise(4000)])[0]
    np.testing.assert_allclose(np.log(energies), FeatureExtractor(config)([noise(4000)])[0], atol=1e-5)
