"""Temperature and floor: known optima, extreme logits, and the formula by hand."""

import math

import numpy as np
import pytest

from automl_car.ensemble.calibration import Calibration, apply, fit_calibration
from automl_car.losses import log_loss
from automl_car.temperature import fit_temperature


def honest_logits(rows, classes, seed=0):
    """Logits and labels drawn from softmax(logits): perfectly calibrated up to chance."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(rows, classes))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, labels


def brute_force_loss(logits, labels):
    return min(log_loss(logits / temperature, labels) for temperature in np.geomspace(0.05, 20, 4000))


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_undoes_a_factor_on_honest_logits(factor):
    logits, labels = honest_logits(20_000, 10)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_temperature_has_a_lower_loss(seed):
    logits, labels = honest_logits(60, 5, seed)
    logits = logits * 3
    fitted = log_loss(logits / fit_temperature(logits, labels), labels)
    assert fitted <= brute_force_loss(logits, labels) + 1e-9


@pytest.mark.parametrize("start", [0.05, 0.7, 20.0])
def test_the_starting_guess_does_not_change_the_temperature(start):
    logits, labels = honest_logits(500, 5)
    assert fit_temperature(logits, labels, start=start) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_perfectly_separable_logits_get_a_small_but_bounded_temperature():
    labels = np.arange(30) % 3
    logits = np.eye(3)[labels]
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature < 0.1
    assert log_loss(logits / temperature, labels) < 1e-6


def test_logits_that_are_always_wrong_get_the_highest_temperature():
    labels = np.arange(30) % 3
    assert fit_temperature(-np.eye(3)[labels], labels) == pytest.approx(20.0, rel=1e-5)


def test_constant_logits_keep_temperature_one():
    assert fit_temperature(np.zeros((10, 4)), np.arange(10) % 4) == 1.0


def test_huge_logits_overflow_nowhere():
    logits, labels = honest_logits(200, 4)
    assert fit_temperature(logits * 8 + 1e6, labels) == pytest.approx(fit_temperature(logits * 8, labels), rel=1e-4)


def test_applied_formula_by_hand():
    # softmax of (ln 9)/2 against 0 is 3/4 to 1/4; a tenth of the uniform half adds 0.05 to nine tenths of each.
    result = apply(Calibration(temperature=2.0, uniform=0.1), np.array([[math.log(9.0), 0.0]]))
    assert result[0] == pytest.approx([0.725, 0.275])


def test_calibrated_rows_sum_to_one():
    logits, labels = honest_logits(300, 20)
    assert apply(fit_calibration(logits, labels), logits).sum(axis=1) == pytest.approx(np.ones(300), abs=1e-12)


def test_every_class_has_a_floor_even_where_the_labels_are_perfect():
    labels = np.arange(30) % 3
    logits = 100 * np.eye(3)[labels]
    assert apply(fit_calibration(logits, labels), logits).min() > 1e-7


def test_the_uniform_share_finds_the_rate_of_wrong_labels():
    logits, labels = honest_logits(30_000, 20)
    random = np.random.default_rng(5)
    wrong = random.random(len(labels)) < 0.03
    labels[wrong] = random.integers(20, size=wrong.sum())
    assert fit_calibration(logits, labels).uniform == pytest.approx(0.03, abs=0.008)


def test_two_parameters_are_never_worse_than_the_temperature_alone():
    logits, labels = honest_logits(100, 5)
    labels[:3] = (labels[:3] + 1) % 5
    calibrated = apply(fit_calibration(logits * 3, labels), logits * 3)
    alone = log_loss(logits * 3 / fit_temperature(logits * 3, labels), labels)
    assert log_loss(np.log(calibrated), labels) <= alone + 1e-6


def test_no_other_pair_on_a_grid_is_likelier():
    logits, labels = honest_logits(200, 5)
    labels[:10] = (labels[:10] + 1) % 5

    def cost(calibration: Calibration) -> float:
        likelihood = len(labels) * log_loss(np.log(apply(calibration, logits)), labels)
        softness = 2 * (1 / calibration.temperature + np.log(calibration.temperature) - 1)
        return likelihood + softness - np.log(calibration.uniform) / 4

    grid = [
        cost(Calibration(temperature, uniform))
        for temperature in np.geomspace(0.3, 3, 30)
        for uniform in np.geomspace(1e-6, 0.2, 30)
    ]
    assert cost(fit_calibration(logits, labels)) <= min(grid) + 1e-7


@pytest.mark.parametrize("seed", range(5))
def test_a_few_photos_that_are_all_right_do_not_ask_for_certainty(seed):
    logits, labels = honest_logits(4000, 12, seed=seed)
    right = np.flatnonzero(logits.argmax(axis=1) == labels)[:18]
    others = np.setdiff1d(np.arange(4000), right)
    calibrated = np.log(apply(fit_calibration(logits[right], labels[right]), logits))
    assert log_loss(calibrated[others], labels[others]) < 1.5 * log_loss(logits[others], labels[others])
