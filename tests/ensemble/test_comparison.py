"""Two ways to predict the same photos."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import sem
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble.comparison import compare
from automl_car.records import FloatArray

LABELS = np.arange(200) % 3


def _probabilities(seed: int, sharpness: float) -> FloatArray:
    logits = np.random.default_rng(seed).normal(size=(200, 3))
    logits[np.arange(200), LABELS] += sharpness
    exponentials: FloatArray = np.exp(logits)
    return exponentials / exponentials.sum(1, keepdims=True)


def test_log_losses_and_the_error_of_their_difference_are_those_of_other_libraries() -> None:
    usual, new = _probabilities(0, 1.0), _probabilities(1, 1.5)
    found = compare(usual, new, LABELS)
    assert found.usual == pytest.approx(sklearn_log_loss(LABELS, usual))
    assert found.new == pytest.approx(sklearn_log_loss(LABELS, new))
    right = np.arange(200), LABELS
    assert found.standard_error == pytest.approx(sem(np.log(new[right]) - np.log(usual[right])))
    assert found.rows == 200


def test_a_clear_gain_pays_and_its_reverse_does_not() -> None:
    usual, new = _probabilities(0, 1.0), _probabilities(1, 3.0)
    assert compare(usual, new, LABELS).pays
    assert not compare(new, usual, LABELS).pays


def test_the_same_predictions_do_not_pay() -> None:
    same = _probabilities(0, 1.0)
    assert not compare(same, same, LABELS).pays
