"""Augmentation: as strong as asked, within bounds, and a function of (seed, epoch, utterance) alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from jasper.audio import read_audio
from jasper.config import AugmentConfig
from jasper.data.augment import Augmenter, change_speed, mix, speed_factors, utterance_rng
from jasper.data.manifest import read_manifest, write_manifest
from jasper.types import Utterance

RATE = 16000
OFF = AugmentConfig(freq_masks=0, time_masks=0)


def noise(size: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def with_noise(folder: Path, wave: np.ndarray, offset: float | None = None, **settings: object) -> Augmenter:
    """An augmenter that always mixes in one file of noise."""
    soundfile.write(folder / "noise.wav", wave, RATE, subtype="FLOAT")
    clip = Utterance("noise", folder / "noise.wav", "", wave.size / RATE - (offset or 0.0), offset=offset)
    write_manifest(folder / "noise.jsonl", [clip])
    raw = {"noise": [folder / "noise.jsonl"], "noise_probability": 1.0, **settings}
    return Augmenter(AugmentConfig.model_validate(raw), RATE)


def test_random_numbers_depend_on_seed_epoch_and_utterance_alone():
    def draw(seed: int, epoch: int, name: str) -> tuple[float, ...]:
        return tuple(utterance_rng(seed, epoch, name).random(3))

    cases = [(0, 0, "a"), (0, 1, "a"), (1, 0, "a"), (0, 0, "b"), (1, 1, "a"), (0, 0, "ä"), (0, 0, "")]
    assert len({draw(*case) for case in cases}) == len(cases)
    assert [draw(*case) for case in cases] == [draw(*case) for case in reversed(cases)][::-1]


@pytest.mark.parametrize("factor", [0.8, 0.85, 0.9, 1.0, 1.1, 1.15, 1.25])
def test_speed_changes_duration_and_pitch_by_the_factor(factor):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE).astype(np.float32)
    changed = change_speed(tone, factor)
    assert changed.dtype == np.float32
    assert changed.size == pytest.approx(tone.size / factor, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * 440 * factor * np.arange(changed.size) / RATE)
    np.testing.assert_allclose(changed[2000:-2000], expected[2000:-2000], atol=2e-3)


def test_speeds_fill_the_range_asked_for():
    config = AugmentConfig(speed=(0.85, 1.15))
    factors = np.concatenate([speed_factors(config, 0, epoch, ["a"]) for epoch in range(200)])
    assert 0.849 < factors.min() < 0.87
    assert 1.13 < factors.max() < 1.151
    counts, _ = np.histogram(speed_factors(config, 0, 0, map(str, range(60_000))), 6, (0.85, 1.15))
    np.testing.assert_allclose(counts, 10_000, atol=460)  # 5 standard deviations


def test_a_speed_depends_on_seed_epoch_and_utterance_alone():
    config = AugmentConfig(speed=(0.5, 1.5))
    names = ["a", "b", "ä", ""]
    drawn = {(s, e): speed_factors(config, s, e, names).tolist() for s in (0, 1) for e in (0, 1)}
    assert len({factor for row in drawn.values() for factor in row}) == 16
    for (seed, epoch), row in drawn.items():
        assert row == [float(speed_factors(config, seed, epoch, [name])[0]) for name in names]


def test_a_probability_is_how_often():
    config = AugmentConfig(speed=(1.1, 1.1), speed_probability=0.3)
    factors = speed_factors(config, 0, 0, map(str, range(500)))
    assert set(factors) == {1.0, 1.1}
    assert np.sum(factors == 1.1) == pytest.approx(150, abs=50)  # 5 standard deviations


@given(snr_db=st.floats(-20, 60), levels=st.tuples(st.floats(0.01, 0.5), st.floats(0.01, 0.5)))
def test_noise_is_mixed_at_the_ratio_asked_for(snr_db, levels):
    wave, other = noise(4000, 1, levels[0]), noise(4000, 2, levels[1])
    added = mix(wave, other, snr_db).astype(np.float64) - wave
    assert 10 * np.log10(power(wave) / power(added)) == pytest.approx(snr_db, abs=0.05)
    # What is added is the noise, and nothing but.
    assert np.corrcoef(added, other)[0, 1] > 0.999


def test_silence_and_noise_do_not_divide_by_zero():
    wave, silence = noise(1000), np.zeros(1000, dtype=np.float32)
    np.testing.assert_array_equal(mix(wave, silence, 10), wave)
    np.testing.assert_array_equal(mix(silence, wave, 10), silence)


def test_the_augmenter_mixes_at_a_ratio_within_its_range(tmp_path):
    augmenter = with_noise(tmp_path, noise(5 * RATE, 1), noise_snr_db=[10.0, 20.0])
    wave, ratios = noise(RATE, 2, 0.05), []
    for epoch in range(40):
        added = augmenter.augment_wave(wave, utterance_rng(0, epoch, "a")).astype(np.float64) - wave
        ratios.append(10 * np.log10(power(wave) / power(added)))
    assert 9.9 < min(ratios) < 12
    assert 18 < max(ratios) < 20.1


def test_a_short_noise_is_repeated_and_a_long_one_is_cut_at_random(tmp_path):
    """Under SNR 0 what is added is the noise at the power of the wave, so it can be recognised."""
    wave = noise(RATE, 2, 0.05)
    short = noise(1000, 3)
    augmenter = with_noise(tmp_path, short, noise_snr_db=[0.0, 0.0])
    added = augmenter.augment_wave(wave, utterance_rng(0, 0, "a")) - wave
    np.testing.assert_allclose(added[:1000], added[1000:2000], atol=1e-6)
    ramp = np.linspace(0.1, 0.9, 10 * RATE, dtype=np.float32)
    augmenter = with_noise(tmp_path, ramp, noise_snr_db=[0.0, 0.0])
    starts = {
        round(float((augmenter.augment_wave(wave, utterance_rng(0, e, "a")) - wave)[0]), 4) for e in range(20)
    }
    assert len(starts) > 15


def test_a_noise_begins_at_the_offset_of_its_manifest(tmp_path):
    """Before the offset stands silence, which must never be chosen."""
    wave = np.concatenate([np.zeros(2 * RATE, dtype=np.float32), noise(2 * RATE, 1)])
    augmenter = with_noise(tmp_path, wave, offset=2.0)
    speech = noise(RATE, 2)
    for epoch in range(20):
        added = augmenter.augment_wave(speech, utterance_rng(0, epoch, "a")) - speech
        assert np.count_nonzero(added) > 0.99 * RATE


def test_real_noise_is_read_and_mixed(speech):
    path = speech / "noise" / "all.jsonl"
    augmenter = Augmenter(AugmentConfig(noise=(path,), noise_probability=1.0), RATE)
    assert len(augmenter.noise) == len(read_manifest(path))
    wave = noise(RATE)
    changed = [augmenter.augment_wave(wave, utterance_rng(0, epoch, "a")) for epoch in range(10)]
    assert all(c.shape == wave.shape and np.isfinite(c).all() for c in changed)
    assert sum(not np.array_equal(c, wave) for c in changed) >= 8


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_speech_is_left_out_as_often_as_asked(tmp_path, probability):
    augmenter = with_noise(tmp_path, noise(RATE), noise_only_probability=probability)
    times = sum(augmenter.leaves_out_speech(utterance_rng(0, epoch, "a")) for epoch in range(1000))
    assert times == pytest.approx(1000 * probability, abs=73)  # 5 standard deviations


def test_noise_alone_is_of_any_length_up_to_the_utterances_and_of_any_level(tmp_path):
    augmenter = with_noise(tmp_path, noise(RATE, 3))
    waves = [augmenter.noise_only(4.0, utterance_rng(0, epoch, "a")) for epoch in range(100)]
    seconds = np.array([wave.size / RATE for wave in waves])
    levels = np.array([10 * np.log10(power(wave)) for wave in waves])
    for found, low, high in ((seconds, 0.5, 4.0), (levels, -55, -15)):
        assert low - 0.1 < found.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < found.max() < high + 0.1
    longest = waves[int(seconds.argmax())]
    np.testing.assert_allclose(longest[:RATE], longest[RATE : 2 * RATE], atol=1e-6)  # repeated
    assert all(wave.dtype == np.float32 and np.abs(wave).max() <= 1 for wave in waves)


def test_silent_noise_alone_is_silence(tmp_path):
    augmenter = with_noise(tmp_path, np.zeros(RATE, dtype=np.float32))
    wave = augmenter.noise_only(0.1, utterance_rng(0, 0, "a"))
    np.testing.assert_array_equal(wave, np.zeros(RATE // 10, dtype=np.float32))


def test_noise_alone_needs_noise():
    with pytest.raises(ValueError, match=r"noise_only_probability: there is no noise"):
        AugmentConfig(noise_only_probability=0.1)


@pytest.mark.parametrize("gain", [-12.0, 6.0])
def test_gain_is_in_decibels(gain):
    augmenter = Augmenter(AugmentConfig(gain_db=(gain, gain)), RATE)
    wave = noise(1000, level=0.05)
    changed = augmenter.augment_wave(wave, utterance_rng(0, 0, "a"))
    assert 10 * np.log10(power(changed) / power(wave)) == pytest.approx(gain, abs=0.01)


def test_waves_stay_within_full_scale_and_the_callers_is_left_alone(tmp_path):
    augmenter = with_noise(tmp_path, noise(RATE, 1, 0.5), speed=[0.9, 1.1], gain_db=[20, 30])
    wave = noise(4000, level=0.3)
    kept = wave.copy()
    changed = augmenter.augment_wave(wave, utterance_rng(0, 0, "a"))
    assert np.abs(changed).max() == 1
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(wave, kept)


def test_what_is_switched_off_changes_nothing():
    wave = noise(4000)
    np.testing.assert_array_equal(Augmenter(OFF, RATE).augment_wave(wave, utterance_rng(0, 0, "a")), wave)
    spans = Augmenter(OFF, RATE).draw_spans(64, 100, utterance_rng(0, 0, "a"))
    assert spans.freq.shape == spans.time.shape == (0, 2)


@given(
    masks=st.integers(0, 5),
    freq_width=st.integers(0, 100),
    time_width=st.integers(0, 200),
    fraction=st.floats(0, 1),
    frames=st.integers(0, 500),
    epoch=st.integers(0, 100),
)
def test_spans_are_within_bounds_and_no_wider_than_asked(
    masks, freq_width, time_width, fraction, frames, epoch
):
    config = AugmentConfig(
        freq_masks=masks,
        time_masks=masks,
        freq_width=freq_width,
        time_width=time_width,
        time_fraction=fraction,
    )
    spans = Augmenter(config, RATE).draw_spans(64, frames, utterance_rng(0, epoch, "a"))
    for found, size, width in ((spans.freq, 64, freq_width), (spans.time, frames, time_width)):
        assert found.shape == (masks, 2)
        assert (found >= 0).all()
        assert (found <= size).all()
        widths = found[:, 1] - found[:, 0]
        assert (widths >= 0).all()
        assert (widths <= width).all()
    assert (np.diff(spans.time, axis=1) <= fraction * frames).all()


def test_spans_reach_every_place_and_every_width():
    augmenter = Augmenter(AugmentConfig(freq_masks=1, freq_width=20, time_masks=1, time_width=75), RATE)
    drawn = [augmenter.draw_spans(64, 1000, utterance_rng(0, epoch, "a")) for epoch in range(600)]
    widths = {int(spans.freq[0, 1] - spans.freq[0, 0]) for spans in drawn}
    assert widths == set(range(21))
    covered = np.zeros(64, dtype=bool)
    for spans in drawn:
        covered[spans.freq[0, 0] : spans.freq[0, 1]] = True
    assert covered.all()
    assert max(int(spans.time[0, 1] - spans.time[0, 0]) for spans in drawn) > 70


def test_the_hidden_spans_are_those_drawn():
    import torch

    from jasper.nn.spec_augment import hide_spans

    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((3, 64, 120)).astype(np.float32))
    augmenter = Augmenter(AugmentConfig(), RATE)
    drawn = [augmenter.draw_spans(64, 120, utterance_rng(0, 0, name)) for name in "abc"]
    expected = features.numpy().copy()
    for row, spans in zip(expected, drawn, strict=True):
        for start, end in spans.freq:
            row[start:end] = 0
        for start, end in spans.time:
            row[:, start:end] = 0
    freq, time = (torch.from_numpy(np.stack([getattr(s, k) for s in drawn])) for k in ("freq", "time"))
    kept = features.clone()
    np.testing.assert_array_equal(hide_spans(features, freq, time).numpy(), expected)
    assert torch.equal(features, kept)


def test_speech_of_one_sample_is_no_crash(tmp_path):
    augmenter = with_noise(tmp_path, noise(RATE), speed=[0.85, 0.9], gain_db=[-5, 5])
    assert np.isfinite(augmenter.augment_wave(noise(1), utterance_rng(0, 0, "a"))).all()


def test_stretches_are_read_from_the_file(speech):
    """The noise that is mixed in stands in the file, at the place its generator chose."""
    clip = read_manifest(speech / "noise" / "all.jsonl")[0]
    assert read_audio(clip.path, RATE).size / RATE == pytest.approx(clip.duration, abs=0.01)
