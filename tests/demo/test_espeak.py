"""The voice of the demo: is it speech, does it obey, and does it repeat itself?"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jasper.demo.espeak import EspeakError, Synthesizer, Voice
from jasper.errors import MissingExtraError

SHORT = "turn left"
LONG = "turn left and set the timer for twenty minutes"
PLAIN = Voice("en-us")


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    pytest.importorskip("espeakng_loader")
    return Synthesizer()


def test_speech_is_mono_float32_at_22050_hz_and_loud_enough(synthesizer: Synthesizer) -> None:
    wave, sample_rate = synthesizer.speak(SHORT, PLAIN)
    assert (wave.ndim, wave.dtype, sample_rate) == (1, np.float32, 22050)
    assert 0.02 < np.sqrt(np.mean(wave**2)) < 0.5
    assert np.abs(wave).max() <= 1


def test_most_energy_lies_where_speech_has_it(synthesizer: Synthesizer) -> None:
    wave, sample_rate = synthesizer.speak(LONG, PLAIN)
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / sample_rate)
    assert power[(hertz > 60) & (hertz < 5000)].sum() > 0.9 * power.sum()


def test_more_text_takes_longer(synthesizer: Synthesizer) -> None:
    short, sample_rate = synthesizer.speak(SHORT, PLAIN)
    long, _ = synthesizer.speak(LONG, PLAIN)
    assert 0.5 < len(short) / sample_rate < 2
    assert len(long) > 2 * len(short)


def test_a_higher_rate_is_shorter(synthesizer: Synthesizer) -> None:
    slow, _ = synthesizer.speak(LONG, Voice("en-us", rate=120))
    fast, _ = synthesizer.speak(LONG, Voice("en-us", rate=200))
    assert len(fast) < 0.8 * len(slow)


def test_pitch_raises_the_fundamental(synthesizer: Synthesizer) -> None:
    low, high = (
        _fundamental(*synthesizer.speak("ah", Voice("en-us+m3", pitch=pitch, pitch_range=10)))
        for pitch in (40, 80)
    )
    assert 60 < low < 0.8 * high < 200


def test_voices_differ(synthesizer: Synthesizer) -> None:
    names = ("en-us", "en-us+f3", "en-us+m7", "en-gb-scotland+f3", "gmw/en+f3")
    waves = [synthesizer.speak(LONG, Voice(name))[0].tobytes() for name in names]
    assert len(set(waves)) == len(names)


def test_text_without_words_is_silent(synthesizer: Synthesizer) -> None:
    assert not synthesizer.speak("", PLAIN)[0].any()


def test_new_synthesizers_repeat_each_other_even_when_used_in_turns() -> None:
    pytest.importorskip("espeakng_loader")
    sayings = [(SHORT, Voice("en-us+f3")), (LONG, Voice("en-us+m2")), (SHORT, Voice("en-us+victor"))]
    first, second = Synthesizer(), Synthesizer()
    for text, voice in sayings:
        assert np.array_equal(first.speak(text, voice)[0], second.speak(text, voice)[0])


def test_threads_do_not_mix_their_samples(synthesizer: Synthesizer) -> None:
    voices = [Voice("en-us+f3"), Voice("en-us+m3", rate=120)] * 8
    alone = {voice: len(synthesizer.speak(LONG, voice)[0]) for voice in voices}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda voice: len(synthesizer.speak(LONG, voice)[0]), voices))
    # A few samples more or less: a wave ends at a whole period of the fluttering pitch.
    assert together == pytest.approx([alone[voice] for voice in voices], rel=0.01)


@pytest.mark.parametrize("name", ["nowhere", "en-us+nobody", "en-us+"])
def test_an_unknown_voice_is_an_error_and_not_another_voice(synthesizer: Synthesizer, name: str) -> None:
    with pytest.raises(EspeakError, match=name.split("+")[0]):
        synthesizer.speak(SHORT, Voice(name))


def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'jasper-asr\[demo\]'"):
        Synthesizer()


def _fundamental(wave: np.ndarray, sample_rate: int) -> float:
    """The frequency in Hz of the strongest autocorrelation between 60 and 250 Hz."""
    spectrum = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
    correlation = np.fft.irfft(spectrum)
    lags = np.arange(sample_rate // 250, sample_rate // 60)
    return float(sample_rate / lags[np.argmax(correlation[lags])])
