"""Log loss against scikit-learn, and where float64 would fail without the log-sum-exp."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.losses import log_loss, log_softmax, row_losses


@pytest.fixture
def logits():
    return np.random.default_rng(1).normal(scale=3, size=(200, 7))


@pytest.fixture
def labels():
    return np.random.default_rng(2).integers(7, size=200)


def test_log_loss_agrees_with_sklearn(logits, labels):
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert log_loss(logits, labels) == pytest.approx(
        sklearn_log_loss(labels, probabilities, labels=range(7)), abs=1e-12
    )


def test_thousands_of_rows_have_the_same_losses_as_each_alone():
    logits = np.random.default_rng(3).normal(scale=3, size=(2500, 5)).astype(np.float32)
    labels = np.random.default_rng(4).integers(5, size=2500)
    np.testing.assert_allclose(row_losses(logits, labels), -log_softmax(logits)[np.arange(2500), labels], rtol=1e-12)


def test_log_loss_divides_by_the_temperature(logits, labels):
    assert log_loss(logits, labels, temperature=2.5) == pytest.approx(log_loss(logits / 2.5, labels), rel=1e-12)


def test_row_losses_have_the_log_loss_as_their_mean(logits, labels):
    assert row_losses(logits, labels).mean() == pytest.approx(log_loss(logits, labels))


def test_a_class_too_unlikely_for_float64_still_has_its_exact_loss():
    assert row_losses(np.array([[0.0, 5000.0]]), np.array([0])).tolist() == [5000.0]


def test_a_constant_added_to_a_row_changes_nothing(logits, labels):
    shifted = logits + np.arange(200)[:, None] * 10
    assert log_loss(shifted, labels) == pytest.approx(log_loss(logits, labels), abs=1e-9)


def test_log_softmax_divides_by_the_temperature():
    odds = log_softmax(np.array([[math.log(16.0), 0.0]]), temperature=2.0)
    assert np.exp(odds[0]) == pytest.approx([0.8, 0.2])


def test_float16_logits_are_computed_in_float64(logits):
    assert log_softmax(logits.astype(np.float16)).dtype == np.float64


def test_the_given_logits_are_not_changed(logits, labels):
    before = logits.copy()
    log_loss(logits, labels)
    np.testing.assert_array_equal(logits, before)
