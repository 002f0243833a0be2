import numpy as np
import pytest

from jasper.calibration import all_calibrated, calibrated, expected_error, fit, reliability


def words(seed, count, scale=1.0, shift=0.0):
    """Confidences, and words that are right as often as these say after scaling and shifting."""
    rng = np.random.default_rng(seed)
    confidences = rng.beta(0.7, 0.9, count)
    return confidences, rng.random(count) < all_calibrated(confidences, scale, shift)


def test_the_expected_error_of_a_worked_example():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.25, 0.25, 1.0])
    right = np.array([True, True, True, False, True, False, True])
    # Bins: five of 0.96 of which 0.8 are right, two of 0.25 of which half are.
    assert expected_error(confidences, right) == pytest.approx((5 * 0.16 + 2 * 0.25) / 7)
    assert [one.number for one in reliability(confidences, right)] == [2, 5]


def test_words_that_are_right_as_often_as_they_claim_are_left_as_they_are():
    confidences, right = words(0, 20_000)
    assert fit(confidences, right) == pytest.approx((1, 0), abs=0.05)
    assert expected_error(confidences, right) < 0.02


@pytest.mark.parametrize(("scale", "shift"), [(0.3, 1.0), (2.0, -1.0), (0.6, -2.0)])
def test_the_repair_is_found_and_holds_for_other_words(scale, shift):
    fitted = fit(*words(1, 20_000, scale, shift))
    assert fitted == pytest.approx((scale, shift), abs=0.1)
    confidences, right = words(2, 20_000, scale, shift)
    assert expected_error(all_calibrated(confidences, *fitted), right) < 0.02
    assert expected_error(confidences, right) > 0.1


@pytest.mark.parametrize("right", [True, False])
def test_words_that_are_all_right_or_all_wrong_have_a_repair(right):
    confidences = np.array([0.0, 0.5, 1.0])
    fitted = fit(confidences, np.array([right] * 3))
    assert np.isfinite(fitted).all()
    repaired = all_calibrated(confidences, *fitted)
    assert ((repaired > 0.5) == right).all()
    assert list(repaired) == sorted(repaired, reverse=fitted[0] < 0)


def test_a_confidence_stays_one():
    assert calibrated(0.3, 1.0, 0.0) == 0.3
    assert 0 < calibrated(0.0, 0.5, 0.1) < calibrated(0.3, 0.5, 0.1) < calibrated(1.0, 0.5, 0.1) < 1
