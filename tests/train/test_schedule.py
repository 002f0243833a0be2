"""The rate at hand-computed places, and places in the order of training."""

import math
from itertools import pairwise

import pytest

from jasper.config import OptimizerConfig, ScheduleConfig
from jasper.recipe import load_config, presets
from jasper.train.place import Place
from jasper.train.schedule import learning_rate

PEAK = OptimizerConfig(learning_rate=0.01)


def rates(progress, epochs=10, **settings):
    schedule = ScheduleConfig(**settings)
    return [learning_rate(place, epochs, PEAK, schedule) for place in progress]


def test_exponential_by_hand():
    found = rates(
        [0.25, 1, 2, 3.5, 5, 6, 7, 5.5, 100],
        name="exponential", warmup_epochs=2, hold_epochs=3, decay=0.5, floor=1e-5,
    )  # fmt: skip
    by_hand = [0.00125, 0.005, 0.01, 0.01, 0.01, 0.005, 0.0025, 0.0070710678, 1e-5]
    assert found == pytest.approx(by_hand, rel=1e-8)


def test_cosine_by_hand():
    found = rates(
        [0.5, 2, 3, 4, 5.5, 7, 8.5, 10, 12], name="cosine", warmup_epochs=2, hold_epochs=2, floor=0.002
    )
    # From 4 to 10 epochs: 0.002 + 0.008 (1 + cos(pi share)) / 2, at shares 1/4, 1/2 and 3/4.
    by_hand = [0.0025, 0.01, 0.01, 0.01, 0.0088284271, 0.006, 0.0031715729, 0.002, 0.002]
    assert found == pytest.approx(by_hand, rel=1e-8)


def test_without_warm_up_and_decay_the_rate_is_the_peak():
    assert rates([0.01, 5, 10], warmup_epochs=0, decay=1.0) == [0.01] * 3


def test_a_hold_to_the_end_divides_by_nothing():
    assert rates([2, 10], name="cosine", warmup_epochs=2, hold_epochs=8) == [0.01, 0.01]
    assert rates([2, 10], name="cosine", warmup_epochs=2, hold_epochs=80) == [0.01, 0.01]


@pytest.mark.parametrize("preset", presets())
def test_the_first_step_of_every_preset_is_below_its_peak(preset):
    """NVIDIA's first step runs at the peak learning rate, before warm-up has begun."""
    config = load_config(preset)
    first = Place(0, 0, 1088).end  # steps of an epoch of LibriSpeech
    peak = config.optimizer.learning_rate
    assert 0 < learning_rate(first, config.train.epochs, config.optimizer, config.schedule) < peak / 100


def test_places_run_from_zero_to_the_number_of_epochs():
    places = [Place(epoch, group, 3) for epoch in range(2) for group in range(3)]
    assert places[0].start == 0
    assert places[-1].end == 2
    for one, next_one in pairwise(places):
        assert math.isclose(one.end, next_one.start)


@pytest.mark.parametrize(
    ("num_groups", "every", "steps"),
    [
        (4, 1.0, [4, 8, 12]),
        (4, 0.5, [2, 4, 6, 8, 10, 12]),
        (3, 0.5, [2, 3, 5, 6, 8, 9]),
        (10, 0.1, list(range(1, 31))),
        (4, 1.5, [6, 12]),
        (4, 2.0, [8]),
        (1, 0.25, [1, 2, 3]),
    ],
)
def test_evaluations_come_at_whole_multiples(num_groups, every, steps):
    places = [Place(epoch, group, num_groups) for epoch in range(3) for group in range(num_groups)]
    assert [step for step, place in enumerate(places, start=1) if place.crosses(every)] == steps
