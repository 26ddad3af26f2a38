"""The linear head: linear discriminant analysis with a temperature, and AdamW from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import log_loss as sklearn_log_loss
from torch import Tensor

from automl_car.training.head import LinearHead, fit_discriminant, raise_to, train_head

CLASSES, WIDTH = 4, 6


def gaussians(rows: int, seed: int, spread: float = 1.2) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Classes with one covariance and equally many rows: what linear discriminant analysis is made for."""
    random = np.random.default_rng(seed)
    means = np.random.default_rng(7).normal(0, spread, (CLASSES, WIDTH))
    mixing = np.random.default_rng(8).normal(0, 1, (WIDTH, WIDTH))
    labels = np.arange(rows) % CLASSES
    random.shuffle(labels)
    return means[labels] @ mixing + random.normal(0, 1, (rows, WIDTH)) @ mixing, labels


def tensors(rows: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    features, labels = gaussians(rows, seed)
    return torch.from_numpy(features).float()[None], torch.from_numpy(labels)


def loss(head: LinearHead, features: Tensor, labels: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(head(features).mean(0), labels))


def train(features: Tensor, labels: Tensor, **changes: object) -> list[tuple[float, LinearHead]]:
    options = {"shrinkage": 0.3, "learning_rate": 1e-2, "epochs": 5, "batch_size": 32, "seed": 0} | changes
    return list(train_head(features, labels, CLASSES, **options))  # type: ignore[arg-type]


# ---- the discriminant -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lsqr", "eigen"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.5, 1.0])
def test_up_to_a_temperature_it_is_scikit_learns_linear_discriminant_analysis(shrinkage: float, solver: str) -> None:
    features, labels = gaussians(400, seed=0)
    theirs = LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage, priors=[1 / CLASSES] * CLASSES)
    expected = theirs.fit(features, labels).decision_function(features)
    expected -= expected.mean(1, keepdims=True)  # a softmax knows no constant
    head = fit_discriminant(torch.from_numpy(features).float()[None], torch.from_numpy(labels), CLASSES, shrinkage)
    ours = head(torch.from_numpy(features).float()).numpy()
    ours = ours - ours.mean(1, keepdims=True)
    temperature = (expected * ours).sum() / (ours * ours).sum()
    assert temperature > 0
    np.testing.assert_allclose(temperature * ours, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_its_probabilities_on_new_rows_are_calibrated_and_nearly_as_good_as_can_be() -> None:
    features, labels = tensors(400)
    head = fit_discriminant(features, labels, CLASSES, 0.0)
    new_features, new_labels = gaussians(20_000, seed=1)
    logits = head(torch.from_numpy(new_features).float()).double()
    ours = sklearn_log_loss(new_labels, logits.softmax(1).numpy())
    rival = LinearDiscriminantAnalysis(solver="lsqr").fit(*gaussians(20_000, seed=2))  # knows the truth, almost
    best = sklearn_log_loss(new_labels, rival.predict_proba(new_features))
    assert ours < 1.1 * best
    for factor in (0.5, 2.0):
        assert sklearn_log_loss(new_labels, (factor * logits).softmax(1).numpy()) > ours


def test_over_confident_discriminants_of_few_rows_are_softened() -> None:
    # 30 rows in 25 dimensions: without a temperature the discriminant is far too sure of itself.
    random = np.random.default_rng(0)
    labels = np.arange(30) % 2
    features = torch.from_numpy(random.normal(0, 1, (30, 25)) + 0.5 * labels[:, None]).float()
    head = fit_discriminant(features[None], torch.from_numpy(labels), 2, 0.05)
    new_labels = np.arange(4000) % 2
    new = torch.from_numpy(random.normal(0, 1, (4000, 25)) + 0.5 * new_labels[:, None]).float()
    raw = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05).fit(features.numpy(), labels)
    assert sklearn_log_loss(new_labels, head(new).double().softmax(1).numpy()) < 0.5 * sklearn_log_loss(
        new_labels, raw.predict_proba(new.numpy())
    )


def test_two_equal_views_say_no_more_than_one() -> None:
    features, labels = tensors()
    one = fit_discriminant(features, labels, CLASSES, 0.3)
    two = fit_discriminant(features.repeat(2, 1, 1), labels, CLASSES, 0.3)
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-3, atol=1e-4)


def test_a_class_without_rows_gets_finite_logits_and_seldom_wins() -> None:
    features, labels = tensors()
    head = fit_discriminant(features, labels, CLASSES + 1, 0.3)
    logits = head(features[0])
    assert torch.isfinite(logits).all()
    assert (logits.argmax(1) == CLASSES).float().mean() < 0.5


def test_a_class_with_a_single_row_does_not_stop_the_fit() -> None:
    features, labels = tensors()
    labels[0] = CLASSES  # row 0 is held out for the temperature, so the first fit does not see the class
    assert torch.isfinite(fit_discriminant(features, labels, CLASSES + 1, 0.3).weight).all()


def test_features_that_never_change_do_not_stop_the_fit() -> None:
    features, labels = tensors()
    features[..., 2] = 0.0
    assert torch.isfinite(fit_discriminant(features, labels, CLASSES, 0.0).weight).all()


# ---- powers ---------------------------------------------------------------------------------------------------------


def test_the_power_keeps_the_sign() -> None:
    torch.testing.assert_close(raise_to(torch.tensor([-4.0, 0.0, 9.0]), 0.5), torch.tensor([-2.0, 0.0, 3.0]))


def test_the_power_one_changes_nothing() -> None:
    values = torch.randn(10)
    assert torch.equal(raise_to(values, 1.0), values)


# ---- training -------------------------------------------------------------------------------------------------------


def test_training_begins_with_the_discriminant() -> None:
    features, labels = tensors()
    _, first = train(features, labels)[0]
    expected = fit_discriminant(features, labels, CLASSES, 0.3)
    torch.testing.assert_close(first.weight, expected.weight)
    torch.testing.assert_close(first.bias, expected.bias)


def test_there_is_a_head_at_the_start_and_after_each_epoch() -> None:
    assert len(train(*tensors(), epochs=3)) == 4


def test_the_loss_on_the_training_rows_falls() -> None:
    features, labels = tensors(120)
    heads = [head for _, head in train(features, labels, epochs=20, shrinkage=0.8)]
    assert loss(heads[-1], features, labels) < loss(heads[0], features, labels)


def test_without_a_learning_rate_the_head_stays_where_it_began() -> None:
    # It leaves for whitened coordinates and comes back: both ways must be right.
    features, labels = tensors()
    heads = [head for _, head in train(features, labels, learning_rate=1e-12)]
    torch.testing.assert_close(heads[-1](features), heads[0](features), rtol=1e-3, atol=1e-3)


def test_heads_of_earlier_epochs_are_not_changed_by_later_ones() -> None:
    features, labels = tensors()
    kept, copies = [], []
    options = {"shrinkage": 0.3, "learning_rate": 1e-2, "epochs": 3, "batch_size": 32, "seed": 0}
    for _, head in train_head(features, labels, CLASSES, **options):  # type: ignore[arg-type]
        kept.append(head.weight)
        copies.append(head.weight.clone())
    assert all(torch.equal(weight, copy) for weight, copy in zip(kept, copies, strict=True))
    assert not torch.equal(kept[1], kept[2])


def test_the_same_seed_gives_the_same_heads() -> None:
    first, second = train(*tensors()), train(*tensors())
    assert all(torch.equal(a.weight, b.weight) and x == y for (x, a), (y, b) in zip(first, second, strict=True))


def test_another_seed_gives_another_head_after_the_start() -> None:
    first, second = train(*tensors()), train(*tensors(), seed=1)
    assert torch.equal(first[0][1].weight, second[0][1].weight)
    assert not torch.equal(first[-1][1].weight, second[-1][1].weight)


def test_a_batch_larger_than_the_rows_is_all_rows() -> None:
    features, labels = tensors(40)
    assert len(train(features, labels, batch_size=1000, epochs=2)) == 3
