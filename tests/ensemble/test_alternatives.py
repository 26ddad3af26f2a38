"""What other choices would have come to, against numbers that are computed another way."""

import numpy as np
import pytest

from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble_records import Candidate

ROWS, CLASSES = 400, 6
FOLDS = np.arange(ROWS) % 4


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    truth = random.normal(scale=2.5, size=(ROWS, CLASSES))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    logits = [0.4 * (truth + random.normal(scale=scale, size=truth.shape)) for scale in (1.0, 1.1, 1.3, 1.6, 2.0, 3.0)]
    return [Candidate(f"trial {number}", "net", values, values[:0]) for number, values in enumerate(logits)], labels


@pytest.fixture(scope="module")
def alternatives(problem):
    built = build_ensemble(*problem, FOLDS, top_k=5, compare=True)
    return {alternative.name: alternative.log_loss for alternative in built.alternatives}, built


def test_each_choice_is_told_once(alternatives):
    assert list(alternatives[0]) == [
        "best trial alone, calibrated",
        "plain mean of the 5 best trials",
        "greedy selection with replacement, no calibration",
        "this pool without calibration",
        "at most 1 member",
        "at most 3 members",
    ]


def test_the_plain_mean_is_that_of_the_probabilities_of_the_five_best(alternatives, problem):
    candidates, labels = problem
    exponentials = [np.exp(candidate.oof_logits) for candidate in candidates[:5]]  # the sixth is worse by far
    mean = np.mean([values / values.sum(axis=1, keepdims=True) for values in exponentials], axis=0)
    expected = -np.log(mean[np.arange(ROWS), labels]).mean()
    assert alternatives[0]["plain mean of the 5 best trials"] == pytest.approx(expected)


def test_fewer_members_are_what_an_ensemble_of_as_many_comes_to(alternatives, problem):
    candidates, labels = problem
    few = build_ensemble(candidates, labels, FOLDS, top_k=1)
    assert alternatives[0]["at most 1 member"] == pytest.approx(few.nested_log_loss, abs=5e-3)


def test_members_that_are_under_confident_gain_from_calibration(alternatives):
    told, built = alternatives
    assert told["plain mean of the 5 best trials"] > built.nested_log_loss + 0.05
    assert told["this pool without calibration"] >= built.nested_log_loss


def test_an_ensemble_that_nobody_asked_to_compare_has_none(problem):
    assert build_ensemble(*problem, FOLDS, top_k=5).alternatives == ()
