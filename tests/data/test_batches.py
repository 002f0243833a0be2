"""The order of training: every utterance once an epoch, within the limits, new in every epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasper.config import DataConfig
from jasper.data.batches import cut_batches, epoch_batches

durations = st.lists(st.floats(0.0, 40.0), max_size=80)
limits = st.builds(DataConfig, batch_size=st.integers(1, 20), batch_seconds=st.floats(1.0, 200.0))


@given(durations=durations, config=limits, seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_every_utterance_is_in_exactly_one_batch_within_the_limits(durations, config, seed, epoch):
    batches = epoch_batches(durations, config, seed, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert 1 <= len(batch) <= config.batch_size
        padded = len(batch) * max(durations[index] for index in batch)
        assert padded <= config.batch_seconds or len(batch) == 1


def drawn(count: int = 500) -> list[float]:
    return np.random.default_rng(0).uniform(1, 16, count).tolist()


def test_the_order_is_a_function_of_seed_and_epoch():
    config = DataConfig(batch_size=8)
    first = epoch_batches(drawn(), config, 0, 0)
    assert epoch_batches(drawn(), config, 0, 0) == first
    assert epoch_batches(drawn(), config, 0, 1) != first
    assert epoch_batches(drawn(), config, 1, 0) != first


def test_other_utterances_meet_in_the_next_epoch():
    """Not only the order of the batches changes: so does what is in them."""
    config = DataConfig(batch_size=8)
    pairs = [
        {
            frozenset((a, b))
            for batch in epoch_batches(drawn(), config, 0, epoch)
            for a in batch
            for b in batch
        }
        for epoch in (0, 1)
    ]
    assert len(pairs[0] & pairs[1]) < 0.5 * len(pairs[0])


def test_batches_are_full_and_hold_like_with_like():
    config, seconds = DataConfig(batch_size=16, batch_seconds=120), drawn()
    batches = epoch_batches(seconds, config, 0, 0)
    held = sum(len(batch) * max(seconds[i] for i in batch) for batch in batches)
    assert sum(seconds) / held > 0.9  # share of what is computed that is speech
    assert held / len(batches) > 0.75 * 120


def test_batches_come_in_random_order():
    seconds = drawn()
    means = [
        np.mean([seconds[i] for i in batch])
        for batch in epoch_batches(seconds, DataConfig(batch_size=8), 0, 0)
    ]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


def test_an_utterance_longer_than_the_limit_is_a_batch_of_its_own():
    order = np.arange(3)
    assert cut_batches(np.array([1.0, 50.0, 1.0]), order, 8, 10.0) == [[0], [1], [2]]


@pytest.mark.parametrize(("seconds", "expected"), [(3.0, [[0, 1, 2]]), (2.9, [[0, 1], [2]])])
def test_the_limit_itself_is_allowed(seconds, expected):
    assert cut_batches(np.ones(3), np.arange(3), 8, seconds) == expected


def test_nothing_makes_no_batch():
    assert epoch_batches([], DataConfig(), 0, 0) == []
