"""The linear head in closed form: linear discriminant analysis with a temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.errors import DivergedError
from automl_car.training.head import LinearHead, fit_discriminant, predict
from automl_car.training.rows import Rows

CLASSES, WIDTH = 4, 6


def gaussians(rows: int, seed: int, spread: float = 1.2) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Classes with one covariance and equally many rows: what linear discriminant analysis is made for."""
    random = np.random.default_rng(seed)
    means = np.random.default_rng(7).normal(0, spread, (CLASSES, WIDTH))
    mixing = np.random.default_rng(8).normal(0, 1, (WIDTH, WIDTH))
    labels = np.arange(rows) % CLASSES
    random.shuffle(labels)
    return means[labels] @ mixing + random.normal(0, 1, (rows, WIDTH)) @ mixing, labels


def as_rows(*views: NDArray[np.floating[Any]], chunk: int = 256) -> Rows:
    return Rows(views, np.arange(len(views[0])), chunk=chunk)


def fit(rows: Rows, labels: NDArray[np.int64], *, classes: int = CLASSES, shrinkage: float = 0.3) -> LinearHead:
    return fit_discriminant(rows, torch.from_numpy(labels), classes, shrinkage).head


def logits_of(head: LinearHead, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return head(torch.from_numpy(features).float()).double().numpy()


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.from_numpy(logits).softmax(1).numpy()


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.5, 1.0])
def test_up_to_a_temperature_it_is_scikit_learns_linear_discriminant_analysis(shrinkage: float, solver: str) -> None:
    features, labels = gaussians(400, seed=0)
    theirs = LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage, priors=[1 / CLASSES] * CLASSES)
    expected = theirs.fit(features, labels).decision_function(features)
    assert_equal_up_to_a_temperature(logits_of(fit(as_rows(features), labels, shrinkage=shrinkage), features), expected)


def assert_equal_up_to_a_temperature(ours: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    expected = expected - expected.mean(1, keepdims=True)  # a softmax knows no constant
    ours = ours - ours.mean(1, keepdims=True)
    temperature = (expected * ours).sum() / (ours * ours).sum()
    assert temperature > 0
    np.testing.assert_allclose(temperature * ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_several_views_are_as_many_rows_to_scikit_learn() -> None:
    features, labels = gaussians(400, seed=0)
    other = features + np.random.default_rng(1).normal(0, 1, features.shape)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=[1 / CLASSES] * CLASSES)
    expected = theirs.fit(np.concatenate([features, other]), np.tile(labels, 2)).decision_function(features)
    assert_equal_up_to_a_temperature(logits_of(fit(as_rows(features, other), labels), features), expected)


def test_large_means_of_the_features_cost_no_digits() -> None:
    features, labels = gaussians(400, seed=0)
    far = (features + 1000.0).astype(np.float32)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=[1 / CLASSES] * CLASSES)
    expected = theirs.fit(far.astype(np.float64), labels).decision_function(far)
    head = fit(as_rows(far), labels)
    ours = far.astype(np.float64) @ head.weight.double().numpy().T
    # The bias, of float32, is left out: at such a distance it cannot have the digits.
    assert_equal_up_to_a_temperature(ours - ours.mean(0), expected - expected.mean(0))


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_how_many_rows_are_read_at_a_time_changes_nothing(chunk: int) -> None:
    features, labels = gaussians(300, seed=0)
    views = (features, features[::-1].copy())
    whole, parts = (fit(as_rows(*views, chunk=size), labels) for size in (300, chunk))
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.bias, whole.bias, rtol=1e-4, atol=1e-5)


def test_the_factor_whitens_the_rows_around_their_class_means() -> None:
    features, labels = gaussians(4000, seed=0)
    fitted = fit_discriminant(as_rows(features), torch.from_numpy(labels), CLASSES, 0.0)
    means = np.stack([features[labels == label].mean(0) for label in range(CLASSES)])
    white = np.linalg.solve(fitted.factor.double().numpy(), (features - means[labels]).T)
    np.testing.assert_allclose(white @ white.T / len(features), np.eye(WIDTH), atol=1e-3)
    np.testing.assert_allclose(fitted.centre.numpy(), features.mean(0), atol=1e-4)


def test_its_probabilities_on_new_rows_are_calibrated_and_nearly_as_good_as_can_be() -> None:
    features, labels = gaussians(400, seed=0)
    head = fit(as_rows(features), labels, shrinkage=0.0)
    new_features, new_labels = gaussians(20_000, seed=1)
    logits = logits_of(head, new_features)
    ours = sklearn_log_loss(new_labels, softmax(logits))
    rival = LinearDiscriminantAnalysis(solver="lsqr").fit(*gaussians(20_000, seed=2))  # knows the truth, almost
    best = sklearn_log_loss(new_labels, rival.predict_proba(new_features))
    assert ours < 1.1 * best
    for factor in (0.5, 2.0):
        assert sklearn_log_loss(new_labels, softmax(factor * logits)) > ours


def test_over_confident_discriminants_of_few_rows_are_softened() -> None:
    # 30 rows in 25 dimensions: without a temperature the discriminant is far too sure of itself.
    random = np.random.default_rng(0)
    labels = np.arange(30) % 2
    features = random.normal(0, 1, (30, 25)) + 0.5 * labels[:, None]
    head = fit(as_rows(features), labels, classes=2, shrinkage=0.05)
    new_labels = np.arange(4000) % 2
    new = random.normal(0, 1, (4000, 25)) + 0.5 * new_labels[:, None]
    raw = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05).fit(features, labels)
    ours = sklearn_log_loss(new_labels, softmax(logits_of(head, new)))
    assert ours < 0.5 * sklearn_log_loss(new_labels, raw.predict_proba(new))


def test_few_rows_that_are_all_told_apart_do_not_make_it_certain_of_everything() -> None:
    # By luck all of few rows may be right, and would ask for a temperature of 0.
    ours, as_they_are = [], []
    labels, new_labels = np.arange(20) % 2, np.arange(4000) % 2
    for seed in range(20):
        random = np.random.default_rng(seed)
        features, new = (random.normal(0, 1, (len(of), 30)) + 0.7 * of[:, None] for of in (labels, new_labels))
        head = fit(as_rows(features), labels, classes=2)
        raw = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(features, labels)
        ours.append(sklearn_log_loss(new_labels, softmax(logits_of(head, new))))
        as_they_are.append(sklearn_log_loss(new_labels, raw.predict_proba(new)))
    assert np.mean(ours) < 0.75 * np.mean(as_they_are)


def test_two_equal_views_say_no_more_than_one() -> None:
    features, labels = gaussians(400, seed=0)
    one, two = fit(as_rows(features), labels), fit(as_rows(features, features), labels)
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-3, atol=1e-4)


def test_a_class_without_rows_gets_finite_logits_and_seldom_wins() -> None:
    features, labels = gaussians(400, seed=0)
    logits = logits_of(fit(as_rows(features), labels, classes=CLASSES + 1), features)
    assert np.isfinite(logits).all()
    assert (logits.argmax(1) == CLASSES).mean() < 0.5


def test_a_class_with_a_single_row_does_not_stop_the_fit() -> None:
    features, labels = gaussians(400, seed=0)
    labels[0] = CLASSES  # without row 0, which is left out once for the temperature, nobody knows the class
    assert torch.isfinite(fit(as_rows(features), labels, classes=CLASSES + 1).weight).all()


def test_features_that_never_change_do_not_stop_the_fit() -> None:
    features, labels = gaussians(400, seed=0)
    features[:, 2] = 0.0
    assert torch.isfinite(fit(as_rows(features), labels, shrinkage=0.0).weight).all()


# ---- prediction -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [2, 100])
def test_predictions_are_the_mean_of_the_logits_of_all_views(tmp_path: Path, chunk: int) -> None:
    features, labels = gaussians(40, seed=0)
    views = (features, features + 1.0, features[::-1].copy())
    head = fit(as_rows(*views), labels)
    expected = np.mean([logits_of(head, view) for view in views], axis=0)
    np.testing.assert_allclose(predict(head, as_rows(*views, chunk=chunk), tmp_path), expected, rtol=1e-4, atol=1e-4)


def test_nothing_stays_in_the_scratch_folder(tmp_path: Path) -> None:
    features, labels = gaussians(40, seed=0)
    logits = predict(fit(as_rows(features), labels), as_rows(features), tmp_path)
    assert logits.shape == (40, CLASSES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_features_that_are_not_finite_are_an_error_that_says_so(bad: float) -> None:
    features, labels = gaussians(40, seed=0)
    features[7, 3] = bad
    with pytest.raises(DivergedError, match="covariance of the features within classes"):
        fit(as_rows(features), labels)
