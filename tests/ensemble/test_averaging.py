"""What averaging fold models gains, told without labels, against what the labels say."""

import dataclasses

import numpy as np
import pytest

from automl_car.ensemble.averaging import averaging_gain
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble_records import Candidate

ROWS, TESTS, CLASSES, FOLDS = 20_000, 20_000, 5, 4


@pytest.fixture(scope="module")
def problem():
    """An ensemble of two trials, the logits that each fold's model gives the test photos, and their labels."""
    random = np.random.default_rng(0)
    truth = random.normal(scale=2.0, size=(ROWS + TESTS, CLASSES))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    of_folds = truth[ROWS:] + random.normal(scale=1.0, size=(2, FOLDS, TESTS, CLASSES))
    candidates = [
        Candidate(name, "net", truth[:ROWS] + random.normal(scale=1.0, size=(ROWS, CLASSES)), tests.mean(axis=0))
        for name, tests in zip(("trial 0", "trial 1"), of_folds, strict=True)
    ]
    built = build_ensemble(candidates, labels[:ROWS], np.arange(ROWS) % FOLDS, top_k=2)
    logits = {(f"trial {trial}", fold): of_folds[trial, fold] for trial in range(2) for fold in range(FOLDS)}
    return built, logits, labels[ROWS:]


def test_it_is_the_difference_between_the_log_loss_of_out_of_fold_rows_and_of_test_rows(problem):
    built, logits, labels = problem
    gain = averaging_gain(built, range(FOLDS), lambda member, fold: logits[member.name, fold])
    on_test = -np.log(built.test_probabilities[np.arange(TESTS), labels]).mean()
    # The standard errors of the two means are about 0.007 each.
    assert built.nested_log_loss - gain == pytest.approx(on_test, abs=0.025)
    assert gain > 0.05


def test_fold_models_that_agree_gain_nothing(problem):
    built, logits, _ = problem
    means = {name: np.mean([logits[name, fold] for fold in range(FOLDS)], axis=0) for name in ("trial 0", "trial 1")}
    assert averaging_gain(built, range(FOLDS), lambda member, fold: means[member.name]) == pytest.approx(0, abs=1e-9)


def test_without_a_test_set_nothing_is_known(problem):
    built, _, _ = problem
    untested = dataclasses.replace(built, test_probabilities=np.empty((0, CLASSES)))
    assert averaging_gain(untested, range(FOLDS), lambda member, fold: np.empty((0, CLASSES))) == 0.0
