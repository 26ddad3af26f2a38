"""Pools and their weights: by hand on two classes, and against a grid over the simplex."""

import numpy as np
import pytest

from automl_car.ensemble.pool import fit_arithmetic, fit_weights, pool_logits
from automl_car.losses import log_loss, log_softmax

KINDS = ["arithmetic", "geometric"]


def three_members(rows=400, classes=4, seed=0):
    """Members with the same truth in them and noise of their own, the third much noisier."""
    random = np.random.default_rng(seed)
    truth = random.normal(scale=2, size=(rows, classes))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    members = [log_softmax(truth + random.normal(scale=scale, size=truth.shape)) for scale in (1.0, 1.3, 4.0)]
    return members, labels


def simplex_grid(steps=20):
    return [np.array([i, j, steps - i - j]) / steps for i in range(steps + 1) for j in range(steps + 1 - i)]


def test_geometric_pool_by_hand():
    # odds 1:4 and 9:1, equally weighted: sqrt(9) to sqrt(4)
    members = [np.log([[0.2, 0.8], [0.5, 0.5]]), np.log([[0.9, 0.1], [0.5, 0.5]])]
    pooled = np.exp(log_softmax(pool_logits("geometric", members, np.array([0.5, 0.5]))))
    assert pooled == pytest.approx(np.array([[0.6, 0.4], [0.5, 0.5]]))


def test_arithmetic_pool_by_hand():
    members = [np.log([[0.2, 0.8]]), np.log([[0.9, 0.1]])]
    assert np.exp(pool_logits("arithmetic", members, np.array([0.25, 0.75]))) == pytest.approx(
        np.array([[0.725, 0.275]])
    )


def test_geometric_pool_of_equal_weights_is_the_softmax_of_the_mean_logits():
    logits = np.random.default_rng(3).normal(size=(2, 5, 4))
    pooled = pool_logits("geometric", [log_softmax(member) for member in logits], np.array([0.5, 0.5]))
    assert log_softmax(pooled) == pytest.approx(log_softmax(logits.mean(axis=0)))


def test_arithmetic_pool_keeps_log_probabilities_that_float64_cannot_hold():
    members = [np.array([[0.0, -2000.0]]), np.array([[0.0, -2000.0]])]
    assert pool_logits("arithmetic", members, np.array([0.5, 0.5]))[0, 1] == pytest.approx(-2000.0)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_lie_on_the_simplex(kind):
    weights = fit_weights(kind, *three_members())
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)


def test_no_point_of_the_simplex_has_a_lower_arithmetic_loss():
    members, labels = three_members()
    fitted = log_loss(pool_logits("arithmetic", members, fit_weights("arithmetic", members, labels)), labels)
    assert fitted <= min(log_loss(pool_logits("arithmetic", members, w), labels) for w in simplex_grid()) + 1e-5


def test_no_log_linear_pool_on_a_grid_has_a_lower_loss():
    members, labels = three_members()
    pooled = pool_logits("geometric", members, fit_weights("geometric", members, labels))
    fitted = min(log_loss(scale * pooled, labels) for scale in np.linspace(0.2, 3, 200))
    grid = [
        log_loss(scale * pool_logits("geometric", members, weights), labels)
        for weights in simplex_grid(10)
        for scale in np.linspace(0.2, 3, 20)
    ]
    assert fitted <= min(grid) + 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_pool_is_no_worse_than_any_member_on_the_rows_of_the_fit(kind, seed):
    members, labels = three_members(seed=seed)
    pooled = pool_logits(kind, members, fit_weights(kind, members, labels))
    best_scaled = min(log_loss(scale * pooled, labels) for scale in np.linspace(0.2, 3, 200))
    assert best_scaled <= min(log_loss(member, labels) for member in members)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_follow_their_members_when_those_change_places(kind):
    members, labels = three_members()
    weights = fit_weights(kind, members, labels)
    assert fit_weights(kind, members[::-1], labels)[::-1] == pytest.approx(weights, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_harmful_member_gets_no_weight_at_all(kind):
    members, labels = three_members()
    worse_on_every_row = log_softmax(members[0] - 3 * np.eye(4)[labels])
    assert fit_weights(kind, [members[0], worse_on_every_row, members[1]], labels)[1] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_one_member_has_weight_one(kind):
    members, labels = three_members()
    assert fit_weights(kind, members[:1], labels).tolist() == [1.0]


def test_mixture_weights_of_disjoint_experts_are_how_often_each_is_right():
    probabilities = np.full((2, 10), 1e-12)
    probabilities[0, :7] = probabilities[1, 7:] = 1.0
    assert fit_arithmetic(probabilities) == pytest.approx([0.7, 0.3], abs=1e-4)


def test_mixture_weights_satisfy_the_optimality_conditions():
    random = np.random.default_rng(4)
    probabilities = random.random((5, 1000))
    weights = fit_arithmetic(probabilities)
    slopes = (probabilities / (weights @ probabilities)).mean(axis=1)
    assert slopes.max() == pytest.approx(1.0, abs=1e-4)
    assert slopes[weights > 0.01] == pytest.approx(1.0, abs=1e-4)
