"""The order of training: every utterance once an epoch, within the limits, new in every epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasper.config import DataConfig
from jasper.data.batches import cut_batches, epoch_steps
from jasper.data.manifest import read_table
from jasper.recipe import load_config

durations = st.lists(st.floats(0.0, 40.0), max_size=80)
limits = st.builds(DataConfig, batch_size=st.integers(1, 20), batch_seconds=st.floats(1.0, 200.0))


def epoch_batches(*arguments):
    """The batches of an epoch in the order of training, for steps of one batch."""
    steps = epoch_steps(*arguments)
    assert all(len(step) == 1 for step in steps)
    return [batch for step in steps for batch in step]


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


@given(
    durations=durations,
    config=limits,
    epoch=st.integers(0, 99),
    count=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_a_step_has_a_batch_for_everyone_and_an_epoch_every_utterance_once(
    durations, config, epoch, count, seed
):
    steps = epoch_steps(durations, config, seed, epoch, count)
    assert all(len(step) == count for step in steps)
    batches = [batch for step in steps for batch in step]
    assert sorted(index for batch in batches for index in batch) == list(range(len(durations)))
    for batch in batches:
        assert len(batch) <= config.batch_size
        assert len(batch) <= 1 or len(batch) * max(durations[i] for i in batch) <= config.batch_seconds


@pytest.mark.parametrize("count", [2, 8])
def test_batches_of_a_step_cost_the_same(count):
    """Ranks wait for the slowest: batches drawn from anywhere left a third of the time unused."""
    seconds = np.random.default_rng(0).gamma(6, 2, 20_000).clip(1, 16.7).tolist()
    steps = epoch_steps(seconds, DataConfig(batch_size=64, batch_seconds=200), 0, 0, count)
    costs = np.array([[len(batch) * max(seconds[i] for i in batch) for batch in step] for step in steps])
    assert costs.mean() / costs.max(axis=1).mean() > 0.97  # share of the time that ranks do not wait


def test_the_last_step_is_shared_out():
    """12 batches among 8 ranks: in the second step 4 of them had nothing to do."""
    config = DataConfig(batch_size=4)
    sizes = sorted(sorted(map(len, step)) for step in epoch_steps([2.0] * 48, config, 0, 0, 8))
    assert sizes == [[2] * 8, [4] * 8]
    assert epoch_steps([2.0], config, 0, 0, 3) == [[[0], [], []]]


@pytest.mark.parametrize("preset", ["small", "jasper10x5dr"])
def test_less_than_three_percent_of_librispeech_is_padding(speech, preset):
    seconds = read_table(speech / "librispeech-train-clean-5" / "train.jsonl").durations
    steps = epoch_steps(seconds, load_config(preset).data, 0, 0)
    held = sum(len(batch) * seconds[batch].max() for step in steps for batch in step)
    assert 1 - seconds.sum() / held < 0.03
