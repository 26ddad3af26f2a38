"""The bootstrap around the choice of a plan: what it adds, and how wide its intervals are."""

import numpy as np
import pytest

from automl_car.ensemble.bootstrap import bootstrap
from automl_car.ensemble.fitting import Plan
from automl_car.ensemble_records import Estimate

PLANS = tuple(Plan("geometric", "fitted", members) for members in range(1, 21))
ALONE = np.arange(1000)


def lowest(losses):
    return min(losses, key=lambda plan: losses[plan].mean())


def estimate(losses, groups=ALONE, test_rows=0):
    def choose(rows):
        return lowest({plan: values[rows] for plan, values in losses.items()})

    return bootstrap(losses, lowest(losses), choose, groups, test_rows=test_rows)


def test_a_single_plan_was_not_chosen_and_costs_nothing():
    losses = np.random.default_rng(0).exponential(size=1000)
    assert estimate({PLANS[0]: losses}).log_loss == pytest.approx(losses.mean())


def test_the_best_of_many_equally_good_plans_is_corrected_upwards_to_what_they_are_worth():
    truth, corrected, naive = 1.0, [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        losses = {plan: truth + random.normal(scale=1.0, size=1000) for plan in PLANS}
        corrected.append(estimate(losses).log_loss)
        naive.append(min(values.mean() for values in losses.values()))
    assert np.mean(naive) < truth - 0.04  # the best of 20 is 1.9 standard errors of 0.032 too good
    assert np.mean(corrected) > np.mean(naive) + 0.02
    assert np.mean(corrected) < truth + 0.01


def test_a_plan_that_is_best_by_far_needs_no_correction():
    spread = np.random.default_rng(0).normal(scale=0.1, size=1000)
    assert estimate({PLANS[0]: 0.5 + spread, PLANS[1]: 0.9 + spread}).choice == 0


def test_the_interval_covers_what_a_normal_approximation_says():
    losses = np.random.default_rng(0).exponential(size=1000)
    low, high = estimate({PLANS[0]: losses}).interval
    half = 1.96 * losses.std(ddof=1) / np.sqrt(1000)
    assert (low, high) == (pytest.approx(losses.mean() - half, abs=0.01), pytest.approx(losses.mean() + half, abs=0.01))


def test_copies_of_a_photo_are_no_evidence_of_their_own():
    losses = np.repeat(np.random.default_rng(0).exponential(size=100), 10)
    low, high = estimate({PLANS[0]: losses}).interval
    low_of_groups, high_of_groups = estimate({PLANS[0]: losses}, groups=np.repeat(np.arange(100), 10)).interval
    # A tenth of the evidence: an interval that is wider by the square root of ten.
    assert (high_of_groups - low_of_groups) / (high - low) == pytest.approx(np.sqrt(10), rel=0.15)


def test_a_small_test_set_has_a_wide_range():
    losses = np.random.default_rng(0).exponential(size=1000)
    low, high = estimate({PLANS[0]: losses}, test_rows=100).test_range
    half = 1.96 * losses.std(ddof=1) * np.sqrt(1 / 1000 + 1 / 100)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_no_log_loss_below_zero_is_expected_of_test_photos():
    after = Estimate(0.3, (0.1, 0.6), test_rows=5, test_range=(0.05, 1.2)).with_averaging(0.5)
    assert (after.test_log_loss, *after.test_range) == pytest.approx((0.0, 0.0, 0.9))


def test_what_averaging_gains_lowers_the_range_and_the_expectation_but_not_the_interval():
    losses = np.random.default_rng(0).exponential(size=1000)
    before = estimate({PLANS[0]: losses}, test_rows=100)
    after = before.with_averaging(0.25)
    assert after.test_log_loss == pytest.approx(before.test_log_loss - 0.25)
    assert np.subtract(before.test_range, after.test_range) == pytest.approx([0.25, 0.25])
    assert (after.log_loss, after.interval) == (before.log_loss, before.interval)
