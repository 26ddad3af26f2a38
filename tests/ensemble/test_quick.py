"""A pool in a blink: how good the trials of a study are together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble.quick import choose_pool, pool_losses
from automl_car.records import FloatArray

CLASSES, ROWS = 4, 200
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, CLASSES, ROWS)


def members(count: int) -> FloatArray:
    """Probabilities of trials that know something of the labels, (count, N, C)."""
    random = np.random.default_rng(1)
    alphas = 1 + 2 * np.eye(CLASSES)[LABELS]
    return np.array([[random.dirichlet(alpha) for alpha in alphas] for _ in range(count)])


def losses_of(probabilities: FloatArray) -> FloatArray:
    losses: FloatArray = -np.log(probabilities[:, np.arange(ROWS), LABELS])
    return losses


def test_its_log_loss_is_that_of_the_mean_of_the_members_probabilities() -> None:
    probabilities = members(3)
    expected = sklearn_log_loss(LABELS, probabilities.mean(axis=0), labels=range(CLASSES))
    assert pool_losses(list(losses_of(probabilities))).mean() == pytest.approx(expected)


def test_a_hopeless_photo_costs_what_the_contest_would_ask() -> None:
    assert pool_losses([np.array([1e4]), np.array([2e4])]) == pytest.approx(-np.log(1e-15))


def test_the_first_is_the_best_and_each_further_one_that_which_helps_most() -> None:
    losses = list(losses_of(members(6)))
    chosen = choose_pool(losses, 3)
    assert len(chosen) == 3
    for size in (1, 2, 3):
        options = [pool_losses([losses[place] for place in (*chosen[: size - 1], last)]).mean() for last in range(6)]
        assert chosen[size - 1] == int(np.argmin(options))


def test_it_is_nearly_as_good_as_the_best_mean_of_as_many() -> None:
    losses = list(losses_of(members(6)))
    every = itertools.combinations_with_replacement(range(6), 3)
    least = min(pool_losses([losses[place] for place in places]).mean() for places in every)
    assert pool_losses([losses[place] for place in choose_pool(losses, 3)]).mean() == pytest.approx(least, rel=0.01)


def test_a_trial_far_better_than_all_others_is_taken_every_time() -> None:
    assert choose_pool([np.full(5, 0.1), np.full(5, 3.0)], 4) == (0, 0, 0, 0)
