"""Joined clips: each used once, one speaker a string, texts and durations that add up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasper.audio import read_audio
from jasper.config import JoinConfig
from jasper.data.dataset import read_utterance
from jasper.data.join import join_clips
from jasper.data.manifest import read_manifest
from jasper.types import Utterance

RATE = 16000


def clips(count: int, speakers: int = 3) -> list[Utterance]:
    return [
        Utterance(f"c{i}", Path(f"{i}.flac"), f"word{i}", 0.3 + 0.01 * i, speaker=f"s{i % speakers}")
        for i in range(count)
    ]


def used(joined: list[Utterance]) -> Counter[str]:
    return Counter(part.id for utterance in joined for part in (utterance.parts or (utterance,)))


@given(
    count=st.integers(0, 40),
    speakers=st.integers(1, 5),
    sizes=st.tuples(st.integers(1, 4), st.integers(0, 4)),
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 1000),
)
def test_every_clip_is_used_once_in_a_string_of_one_speaker(count, speakers, sizes, seed, epoch):
    utterances = clips(count, speakers)
    config = JoinConfig(min_clips=sizes[0], max_clips=sum(sizes))
    joined = join_clips(utterances, config, seed, epoch)
    assert used(joined) == Counter(utterance.id for utterance in utterances)
    assert len({utterance.id for utterance in joined}) == len(joined)
    for utterance in joined:
        assert len(utterance.parts) <= sum(sizes)
        assert {part.speaker for part in utterance.parts} <= {utterance.speaker}
    # Only the last string of a speaker may be shorter than was asked for.
    short = [u.speaker for u in joined if max(1, len(u.parts)) < sizes[0]]
    assert len(short) == len(set(short))


def test_text_and_duration_add_up():
    config = JoinConfig(min_clips=2, max_clips=5, pause=(0.1, 0.4))
    for utterance in join_clips(clips(30), config, 1, 1):
        if not utterance.parts:
            continue
        assert utterance.text == " ".join(part.text for part in utterance.parts)
        assert len(utterance.pauses) == len(utterance.parts)
        assert all(0.1 <= pause <= 0.4 for pause in utterance.pauses[:-1])
        assert utterance.pauses[-1] == 0
        spoken = sum(part.duration for part in utterance.parts)
        assert utterance.duration == pytest.approx(spoken + sum(utterance.pauses))


def test_the_wave_is_the_parts_and_their_pauses(speech):
    utterances = read_manifest(speech / "fsdd" / "dev.jsonl")[:12]
    for utterance in join_clips(utterances, JoinConfig(min_clips=2, max_clips=4), 0, 0):
        wave = read_utterance(utterance, RATE)
        # A manifest rounds durations to a millisecond.
        assert wave.size / RATE == pytest.approx(utterance.duration, abs=2e-3 * len(utterance.parts))
        place = 0
        for part, pause in zip(utterance.parts, utterance.pauses, strict=True):
            alone = read_audio(part.path, RATE)
            np.testing.assert_array_equal(wave[place : place + alone.size], alone)
            place += alone.size
            assert not wave[place : place + round(pause * RATE)].any()
            place += round(pause * RATE)
        assert place == wave.size


def test_strings_are_a_function_of_seed_and_epoch():
    config, utterances = JoinConfig(), clips(60)
    first = join_clips(utterances, config, 0, 0)
    assert join_clips(utterances, config, 0, 0) == first
    assert join_clips(utterances, config, 0, 1) != first
    assert join_clips(utterances, config, 1, 0) != first


@pytest.mark.parametrize("wanted", [1, 10, 100])
def test_as_many_strings_as_asked_for(wanted):
    utterances = clips(30)
    joined = join_clips(utterances, JoinConfig(min_clips=2, max_clips=4, utterances=wanted), 0, 0)
    assert len(joined) == wanted
    if wanted == 100:  # several rounds, and no clip much more often than another
        counts = used(joined)
        assert set(counts) == {utterance.id for utterance in utterances}
        assert max(counts.values()) - min(counts.values()) <= 4


def test_nothing_to_join_is_nothing():
    assert join_clips([], JoinConfig(utterances=5), 0, 0) == []
