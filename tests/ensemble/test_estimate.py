"""Cross-fitting never looks at the held-out fold, and a plan has to earn its place."""

import numpy as np
import pytest

from automl_car.ensemble.estimate import (
    POOLS,
    SINGLE,
    Calibrated,
    CrossFit,
    OutOfFold,
    choose_plan,
    cross_fit,
    refine_plan,
    standard_error,
    variants,
)
from automl_car.ensemble.fitting import Plan, fit_pool, fit_pools, predict, temper
from automl_car.ensemble_records import Candidate

ARITHMETIC, GEOMETRIC = Plan("arithmetic", "fitted"), Plan("geometric", "fitted")
UNIFORM = Plan("geometric", "uniform")


def candidates_and_labels(rows, count=3, classes=4, noise=1.0):
    random = np.random.default_rng(0)
    truth = random.normal(scale=2, size=(rows, classes))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    logits = [truth + random.normal(scale=noise, size=truth.shape) for _ in range(count)]
    return [Candidate(f"trial {i}", "b", values, values[:0]) for i, values in enumerate(logits)], labels


def calibrated(candidates, labels):
    probabilities = [np.exp(c.oof_logits)[np.arange(len(labels)), labels] for c in candidates]
    totals = [np.exp(c.oof_logits).sum(axis=1) for c in candidates]
    return Calibrated(np.ones(len(candidates)), np.array(probabilities) / np.array(totals))


def losses_of(**means):
    """Cross-fits with these mean losses and the same spread over 100 rows; what is not named is far worse."""
    spread = np.linspace(-0.1, 0.1, 100)
    named = {
        "single": SINGLE,
        "arithmetic": ARITHMETIC,
        "geometric": GEOMETRIC,
        "uniform": UNIFORM,
    }
    cross_fits = {plan: CrossFit(spread + 9.0, {}) for plan in (SINGLE, *POOLS)}
    return cross_fits | {named[name]: CrossFit(values + spread, {}) for name, values in means.items()}


def test_a_fold_is_scored_by_pools_that_its_labels_did_not_touch():
    candidates, labels = candidates_and_labels(90)
    folds = np.arange(90) % 3
    known = calibrated(candidates, labels)
    before = cross_fit(OutOfFold(candidates, known, labels, folds), top_k=3)
    changed = np.where(folds == 0, (labels + 1) % 4, labels)
    after = cross_fit(OutOfFold(candidates, calibrated(candidates, changed), changed, folds), top_k=3)
    for plan in POOLS:
        assert after[plan].pools[0] == before[plan].pools[0]
        assert after[plan].pools[1] != before[plan].pools[1]


def test_with_few_rows_and_many_weights_the_nested_loss_is_above_the_loss_on_the_rows_of_the_fit():
    candidates, labels = candidates_and_labels(40, count=8, noise=4.0)
    known, folds = calibrated(candidates, labels), np.arange(40) % 5
    logits = [candidate.oof_logits for candidate in candidates]
    fitted = fit_pool(ARITHMETIC, temper(range(8), logits, labels, starts=np.ones(8)))
    naive = -np.log(predict(fitted, [logits[member] for member in fitted.members])[np.arange(40), labels]).mean()
    assert cross_fit(OutOfFold(candidates, known, labels, folds), top_k=8)[ARITHMETIC].log_loss > naive + 0.01


def test_standard_error_by_hand():
    # deviations -1, 0, 1: variance 2 / 2 = 1, over 3 values
    assert standard_error(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / np.sqrt(3))


def test_fitted_weights_are_taken_when_their_gain_is_certain():
    assert choose_plan(losses_of(single=0.9, geometric=0.5, uniform=0.6)) == GEOMETRIC


def test_uniform_weights_are_taken_when_the_gain_of_fitted_ones_is_within_one_standard_error():
    noisy = 0.6 + np.random.default_rng(0).normal(scale=1, size=100)
    cross_fits = losses_of(single=0.9, geometric=0.6, uniform=noisy - noisy.mean() + 0.61)
    assert choose_plan(cross_fits) == UNIFORM


def test_the_mean_with_the_lower_nested_loss_is_taken():
    assert choose_plan(losses_of(single=0.9, geometric=0.6, uniform=0.7, arithmetic=0.5)) == ARITHMETIC


def test_only_the_mean_that_is_asked_for_is_taken():
    cross_fits = losses_of(single=0.9, geometric=0.6, uniform=0.7, arithmetic=0.5)
    assert choose_plan(cross_fits, pool="geometric") == GEOMETRIC
    assert choose_plan(cross_fits, pool="arithmetic") == ARITHMETIC


def test_the_best_trial_stays_alone_when_no_pool_beats_it():
    assert choose_plan(losses_of(single=0.4, geometric=0.5, uniform=0.6)) == SINGLE


def test_a_step_of_calibration_that_does_not_improve_the_nested_loss_is_left_out():
    spread = np.linspace(-0.1, 0.1, 100)
    simple, *others = variants(GEOMETRIC)
    cross_fits = {simple: CrossFit(0.5 + spread, {})} | {plan: CrossFit(0.5 + spread, {}) for plan in others}
    assert refine_plan(cross_fits, GEOMETRIC) == simple == Plan("geometric", "fitted", None, False, "none")


@pytest.mark.parametrize("number", range(6))
def test_the_way_to_calibrate_with_the_lowest_nested_loss_is_taken(number):
    spread = np.linspace(-0.1, 0.1, 100)
    cross_fits = {
        plan: CrossFit(0.5 - 0.01 * (place == number) + spread, {}) for place, plan in enumerate(variants(UNIFORM))
    }
    assert refine_plan(cross_fits, UNIFORM) == variants(UNIFORM)[number]


def test_logits_that_are_calibrated_already_are_left_as_they_are():
    candidates, labels = candidates_and_labels(3000, count=1, noise=1e-6)
    known = OutOfFold(candidates, calibrated(candidates, labels), labels, np.arange(3000) % 5)
    cross_fits = cross_fit(known, top_k=1, plans=variants(SINGLE))
    chosen = refine_plan(cross_fits, SINGLE)
    assert (chosen.tempered, chosen.calibration) == (False, "none")


def test_plans_that_differ_in_their_calibration_alone_share_their_weights():
    candidates, labels = candidates_and_labels(200)
    members = temper(range(3), [candidate.oof_logits for candidate in candidates], labels, starts=[None] * 3)
    fitted = fit_pools(variants(GEOMETRIC)[:3], members)
    none, temperature, full = fitted.values()
    assert none.weights == temperature.weights == full.weights
    assert none.temperatures == (1.0, 1.0, 1.0)
    assert none.calibration.temperature == 1.0 != temperature.calibration.temperature
    assert temperature.calibration.uniform < full.calibration.uniform
