"""Windows hold every sound, end at pauses, are never too long, and do not depend on how the sound comes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from jasper.pauses import Cutting, cut_windows, levels, quiet

RATE = 8000
CUTTING = Cutting(longest=5.0, shortest=1.0, utterance_pause=0.8, pause=0.15, margin=0.2, overlap=1.0)


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades four times a second by 40 dB, with no pause that a cut could use."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    swell = 10 ** (-1 * (1 + np.cos(2 * np.pi * 4 * time)))
    return (0.2 * swell * rng.standard_normal(time.size)).astype(np.float32)


def silence(seconds: float, level: float = 0.0) -> np.ndarray:
    return (level * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype(np.float32)


def windows(*parts, block=RATE, cutting=CUTTING, grid=1):
    wave = np.concatenate(parts)
    blocks = [wave[start : start + block] for start in range(0, wave.size, block)]
    return list(cut_windows(blocks, RATE, cutting, grid))


def spans(found):
    return [(window.start / RATE, (window.start + window.wave.size) / RATE) for window in found]


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
def test_each_utterance_is_a_window_with_a_margin(level):
    parts = [silence(3, level), speech(2), silence(2, level), speech(3), silence(1.2, level), speech(2)]
    found = windows(*parts, silence(9, level))
    expected = [(3, 5), (7, 10), (11.2, 13.2)]
    for (start, end), (first, last) in zip(spans(found), expected, strict=True):
        assert first - 0.35 <= start <= first
        assert last <= end <= last + 0.35
    assert not any(window.joined for window in found)


def test_what_would_be_too_long_ends_at_its_longest_pause():
    found = windows(speech(2), silence(0.25), speech(1.5), silence(0.4), speech(2), silence(0.2), speech(2))
    cuts = [end for _, end in spans(found)]
    assert 3.75 <= cuts[0] <= 4.15
    assert all(end - start <= CUTTING.longest for start, end in spans(found))


def test_where_there_is_no_pause_windows_overlap_on_the_grid():
    wave, grid = speech(23), 1280
    found = windows(wave, grid=grid)
    assert [window.joined for window in found] == [False] + [True] * (len(found) - 1)
    for before, after in pairwise(found):
        assert (after.start - before.start) % grid == 0
        overlap = before.start + before.wave.size - after.start
        assert CUTTING.overlap * RATE <= overlap < CUTTING.overlap * RATE + grid
    assert found[-1].start + found[-1].wave.size == wave.size


def test_a_recording_cut_elsewhere_is_cut_alike_from_there_on_the_grid():
    grid = 320
    parts = [speech(3), silence(1.013), speech(9), silence(0.307), speech(2), silence(4.111), speech(1)]
    later = 7 * grid + RATE * 30 // grid * grid  # samples of other sound before the same
    before = [speech(4, seed=2), silence(2)]
    wave = np.concatenate([*before, silence((later - 6 * RATE) / RATE), *parts])
    found, alone = windows(wave, grid=grid), windows(*parts, grid=grid)
    assert all(window.start % grid == 0 for window in [*found, *alone])
    assert len(alone) > 3
    for one, other in zip(found[-len(alone) + 1 :], alone[1:], strict=True):  # the first has no margin alone
        assert (one.start - later, one.joined) == (other.start, other.joined)
        np.testing.assert_array_equal(one.wave, other.wave)


@pytest.mark.parametrize("block", [1, 997, RATE * 60])
def test_windows_do_not_depend_on_the_blocks(block):
    parts = [speech(3), silence(1), speech(9), silence(0.3), speech(2), silence(4), speech(1)]
    if block == 1:
        parts = [*parts[:2], speech(2)]
    for one, other in zip(windows(*parts, block=block), windows(*parts), strict=True):
        assert (one.start, one.joined) == (other.start, other.joined)
        np.testing.assert_array_equal(one.wave, other.wave)


def test_windows_are_stretches_of_the_recording():
    wave = np.concatenate([silence(2), speech(7), silence(0.5), speech(3), silence(2), speech(1)])
    for window in windows(wave):
        np.testing.assert_array_equal(window.wave, wave[window.start : window.start + window.wave.size])


def test_a_short_recording_is_one_window_whole():
    (window,) = windows(silence(1), speech(1), silence(1.5), speech(1))
    assert (window.start, window.wave.size) == (0, round(4.5 * RATE))


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(0, dtype=np.float32),
        np.zeros(1, dtype=np.float32),
        np.zeros(RATE * 3, dtype=np.float32),
        np.zeros(RATE * 70, dtype=np.float32),
        silence(60, 0.1),
        np.full(RATE * 30, 0.5, dtype=np.float32),  # a direct current
        np.sin(np.arange(RATE * 30) * 0.3).astype(np.float32),
    ],
)
def test_silence_noise_and_a_steady_tone_are_in_no_window(wave):
    assert windows(wave) == []


def test_a_level_is_that_of_ten_milliseconds():
    wave = np.concatenate([np.zeros(800), np.sin(np.arange(805) * np.pi / 2)]).astype(np.float32)
    level = levels(wave, RATE)
    assert level.shape == (21,)  # the last one of 5 samples
    assert (level[:10] < -100).all()
    # A sine of a quarter of the rate: pre-emphasis makes its power 0.5 * (1 + 0.97²).
    np.testing.assert_allclose(level[11:20], 10 * np.log10(0.5 * (1 + 0.97**2)), atol=0.05)


def test_a_sample_is_no_noise_for_varying_little():
    assert quiet(levels(np.array([0.5], dtype=np.float32), RATE)).tolist() == [False]
