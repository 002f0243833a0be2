"""A stream says what a file says, whatever the chunks, and takes back nothing that it called final."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import write_small_model
from test_model import sound
from tones import SAMPLE_RATE, random_texts, recipe, tones, write_corpus

import jasper
from jasper.errors import AudioError
from jasper.metrics import count_errors
from jasper.model import Model
from jasper.stream import Stream, StreamConfig
from jasper.train import train

CONFIG = StreamConfig(step=0.2, look_ahead=0.5, context=1.0, memory=5.0, warm_up=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    """A network that knows the tones by heart."""
    folder = tmp_path_factory.mktemp("learnt")
    corpus = write_corpus(folder, random_texts(12))
    learn = {"data": {"batch_size": 4}, "optimizer": {"learning_rate": 0.02}, "train": {"epochs": 40}}
    return jasper.load(train(recipe(corpus, folder / "run", **learn)).directory / "last")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return random_texts(20, seed=7)


@pytest.fixture(scope="module")
def wave(texts) -> np.ndarray:
    """The texts with pauses of 0.2 s and, after each fourth, of a second."""
    rng = np.random.default_rng(3)
    parts = []
    for seed, text in enumerate(texts):
        pause = 0.003 * rng.standard_normal(round((1.0 if seed % 4 == 3 else 0.2) * SAMPLE_RATE))
        parts += [tones(text, seed), pause]
    return np.concatenate(parts).astype(np.float32)


def updates_of(stream: Stream, wave: np.ndarray, sizes):
    """Feed a wave in chunks of these sizes, the last one again and again."""
    sizes, place, updates = iter(sizes), 0, []
    size = next(sizes)
    while place < wave.size:
        updates.append(stream.feed(wave[place : place + size]))
        place, size = place + size, next(sizes, size)
    return [*updates, stream.finish()]


def final_words(updates):
    return [word for update in updates for word in update.final]


def test_a_stream_says_what_was_said(model, texts, wave):
    words = final_words(updates_of(model.stream(CONFIG), wave, [800]))
    assert count_errors(" ".join(texts), " ".join(word.text for word in words)).rate < 0.15
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    whole = {(round(word.start, 1), word.text) for word in model.transcribe(wave, words=True).words}
    assert sum((round(word.start, 1), word.text) in whole for word in words) > 0.7 * len(words)


@pytest.mark.parametrize("sizes", [[1] * 50 + [97], [1600], [8000], [10**6], [5, 30000, 3, 10**6]])
def test_the_chunks_do_not_matter(model, wave, sizes):
    expected = final_words(updates_of(model.stream(CONFIG), wave, [800]))
    found = final_words(updates_of(model.stream(CONFIG), wave, sizes))
    assert [word.text for word in found] == [word.text for word in expected]
    np.testing.assert_allclose([word.start for word in found], [word.start for word in expected], atol=1e-6)


@given(sizes=st.lists(st.integers(300, 20_000), min_size=1, max_size=9))
@settings(max_examples=15, deadline=None)
def test_no_chunks_matter(model, wave, sizes):
    """Final words are the same however the sound comes, so nothing that comes later can change them."""
    expected = final_words(updates_of(model.stream(CONFIG), wave, [800]))
    found = final_words(updates_of(model.stream(CONFIG), wave, sizes))
    assert [word.text for word in found] == [word.text for word in expected]


@given(place=st.integers(0, 150_000))
@settings(max_examples=15, deadline=None)
def test_where_the_sound_ends_changes_no_word_that_was_final(model, wave, place):
    before = model.stream(CONFIG)
    final = before.feed(wave[:place]).final
    last = before.finish().final
    whole = final_words(updates_of(model.stream(CONFIG), wave, [800]))
    assert [word.text for word in final] == [word.text for word in whole[: len(final)]]
    assert all(word.start >= final[-1].end - 1e-6 for word in last if final)


def test_final_words_never_change_and_partial_ones_stand_after_them(model, wave):
    stream, final = model.stream(CONFIG), []
    for update in updates_of(stream, wave, [800]):
        final += update.final
        if update.partial and final:
            assert update.partial[0].start >= final[-1].end - 1e-6
    assert final
    assert stream.partial == ()


def test_words_are_final_soon_after_they_are_said(model, wave):
    stream, place, late = model.stream(CONFIG), 0, []
    while place < wave.size:
        update = stream.feed(wave[place : place + 400])
        place += 400
        late += [place / SAMPLE_RATE - word.end for word in update.final if word.start > 3]
    assert len(late) > 10
    # Until another word has begun, or the pause is over, whichever is first, and a step.
    assert np.median(late) < CONFIG.look_ahead + CONFIG.step + 0.3
    assert min(late) >= CONFIG.look_ahead - 0.03


def test_with_endless_look_ahead_words_are_final_at_pauses(model, wave):
    updates = updates_of(model.stream(replace(CONFIG, look_ahead=1e6)), wave, [800])
    assert all(update.ended for update in updates if update.final)
    assert sum(bool(update.final) for update in updates) == 5


def test_a_pause_ends_the_utterance(model, wave):
    assert sum(update.ended for update in updates_of(model.stream(CONFIG), wave, [800])) == 5


def test_integers_and_other_rates(model, texts, wave):
    expected = final_words(updates_of(model.stream(CONFIG), wave, [800]))
    integers = np.round(wave * 32767).astype(np.int16)
    found = final_words(updates_of(model.stream(CONFIG), integers, [800]))
    heard = [" ".join(word.text for word in words) for words in (expected, found)]
    assert count_errors(*heard).rate < 0.05
    doubled = np.interp(np.arange(2 * wave.size) / 2, np.arange(wave.size), wave).astype(np.float32)
    found = final_words(updates_of(model.stream(CONFIG, sample_rate=2 * SAMPLE_RATE), doubled, [1234]))
    assert count_errors(" ".join(texts), " ".join(word.text for word in found)).rate < 0.15


@pytest.mark.parametrize("seconds", [0, 1 / SAMPLE_RATE, 0.3, 5, 60])
def test_silence_says_nothing(model, seconds):
    updates = updates_of(
        model.stream(CONFIG), np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32), [800]
    )
    assert final_words(updates) == []


def test_memory_does_not_grow_without_a_pause(tmp_path):
    model = jasper.load(write_small_model(tmp_path / "m"))
    stream = model.stream(replace(CONFIG, step=1.0, longest=3.0))
    for seed in range(60):
        stream.feed(sound(1.0, seed))
    held = stream.sound.log_mel.shape[1], stream.sound.level.size, stream.speech.shape[1]
    assert max(held) <= 2100  # 20 s of levels and a step
    assert stream.sound.wave.size < 16000


def test_features_of_a_stream_are_those_of_the_whole(model, wave):
    stream = model.stream(replace(CONFIG, step=1e3))
    for start in range(0, 20000, 313):
        stream.feed(wave[start : min(start + 313, 20000)])
    stream.sound.add(np.zeros(0, dtype=np.float32), last=True)
    np.testing.assert_allclose(stream.sound.log_mel, model.extractor.log_mel(wave[:20000]), atol=1e-9)


@pytest.mark.parametrize("preemphasis", [0.97, 0.0])
def test_nemos_features_of_a_stream_are_those_of_the_whole(tmp_path, preemphasis):
    """With `exact_pad` the end of what was heard so far would be taken for the end of all."""
    nemo = {"frame_count": "floor", "edges": "zeros", "exact_pad": True, "frame_splicing": 2}
    model = jasper.load(write_small_model(tmp_path / "m", preemphasis=preemphasis, **nemo))
    stream, wave = model.stream(replace(CONFIG, step=1e3)), sound(1.3, 0)
    for start in range(0, wave.size, 313):
        stream.feed(wave[start : start + 313])
    stream.sound.add(np.zeros(0, dtype=np.float32), last=True)
    np.testing.assert_allclose(stream.sound.log_mel, model.extractor.log_mel(wave), atol=1e-9)


def test_what_is_no_sound_is_an_error(model):
    with pytest.raises(AudioError, match="not finite"):
        model.stream().feed(np.array([np.nan], dtype=np.float32))
    with pytest.raises(AudioError, match="shape"):
        model.stream().feed(np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(AudioError, match="int32"):  # floats of some billions are what they were taken for
        model.stream().feed(np.zeros(5, dtype=np.int32))


@pytest.mark.parametrize(
    "setting",
    [{"step": 0}, {"step": math.inf}, {"memory": math.nan}, {"context": -1.0}, {"look_ahead": -0.1}],
)
def test_settings_that_cannot_be(model, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        StreamConfig(**setting)
    with pytest.raises(ValueError, match="sample_rate"):
        model.stream(sample_rate=0)


def test_a_step_shorter_than_a_frame_is_a_frame(model, wave):
    """It was no frame, and the stream stood still for ever."""
    found = final_words(updates_of(model.stream(replace(CONFIG, step=1e-4)), wave[:SAMPLE_RATE], [800]))
    assert found


def test_after_its_end_a_stream_hears_nothing(model, wave):
    stream = model.stream(CONFIG)
    updates_of(stream, wave[:SAMPLE_RATE], [800])
    assert stream.finish().final == ()
    with pytest.raises(AudioError, match="has ended"):
        stream.feed(wave[:SAMPLE_RATE])
