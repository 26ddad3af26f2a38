"""Several opinions to one: each member's log-probabilities (N, C) in; convex weights and pooled logits out.

    arithmetic   log Σ w·p     keeps a class alive if any member does
    geometric    Σ w·log p     drops a class if any member does; softmax of the mean logits

Both beat their members on average: among generalised means these two are the ends of the range that must
(arXiv 2603.04204). Either pool is calibrated afterwards, never before only (arXiv 2007.08792).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from automl_car.losses import centre, true_class
from automl_car.records import FloatArray, IntArray

PoolKind = Literal["arithmetic", "geometric"]

SMALLEST_WEIGHT = 1e-3
"""A member below this changes no digit that matters and still costs its models at test time."""

SMALLEST_PROBABILITY = 1e-15
"""The contest's scorer clips here; one hopeless row must not decide the weights."""

_CHUNK = 1024  # rows whose float64 copies are in memory at a time

_Objective = Callable[[FloatArray], tuple[float, FloatArray]]


def pool_logits(kind: PoolKind, log_probabilities: Sequence[NDArray[Any]], weights: FloatArray) -> FloatArray:
    """The pool's logits, float64 (N, C), up to a constant for each row.

    Args:
        kind: which mean.
        log_probabilities: (N, C) of each member, in the order of `weights`.
        weights: (M,), above 0, with sum 1.

    Example:
        Odds of 1:1 and 16:1 have the geometric mean 4:1.

        >>> members = [np.log([[0.5, 0.5]]), np.log([[16 / 17, 1 / 17]])]
        >>> logits = pool_logits("geometric", members, np.array([0.5, 0.5]))
        >>> float(np.exp(logits[0, 0] - logits[0, 1]).round(6))
        4.0
    """
    if kind == "geometric":
        return _weighted_sum(log_probabilities, weights)
    # Each class is shifted by its largest member, so that the sum cannot vanish in float64.
    largest = log_probabilities[0]
    for member in log_probabilities[1:]:
        largest = np.maximum(largest, member)
    total = np.zeros(largest.shape)
    for member, weight in zip(log_probabilities, weights, strict=True):
        total += weight * np.exp(member - largest)
    pooled: FloatArray = np.log(total) + largest
    return pooled


def fit_weights(kind: PoolKind, log_probabilities: Sequence[NDArray[Any]], labels: IntArray) -> FloatArray:
    """The weights (M,) of least log loss on these rows: at least 0, with sum 1, none between 0 and 0.001.

    Args:
        kind: which pool.
        log_probabilities: (N, C) of each member.
        labels: class indices (N,).
    """
    weights = np.zeros(len(log_probabilities))
    kept = list(range(len(log_probabilities)))
    while True:
        weights[:] = 0.0
        weights[kept] = _fit_kept(kind, [log_probabilities[member] for member in kept], labels)
        large = [member for member in kept if weights[member] >= SMALLEST_WEIGHT]
        if large == kept:
            return weights
        kept = large


def _fit_kept(kind: PoolKind, log_probabilities: Sequence[NDArray[Any]], labels: IntArray) -> FloatArray:
    if kind == "geometric":
        return fit_geometric(log_probabilities, labels)
    return fit_arithmetic(true_class_probabilities(log_probabilities, labels))


def true_class_probabilities(log_probabilities: Sequence[NDArray[Any]], labels: IntArray) -> FloatArray:
    """What each member gave the right class, (M, N): all that arithmetic weights depend on."""
    rows = [np.exp(true_class(member, labels)) for member in log_probabilities]
    probabilities: FloatArray = np.maximum(np.stack(rows), SMALLEST_PROBABILITY)
    return probabilities


def fit_arithmetic(probabilities: FloatArray) -> FloatArray:
    """The exact weights (M,) of a mixture, from the true-class probabilities (M, N).

    Minimising -mean log(wᵀp) over the simplex is the same as minimising it plus Σw over w ≥ 0, without the
    constraint on the sum: at the minimum the sum is 1 by itself (Kim et al. 2020, the `mixsqp` paper). That is convex.

    Example:
        One member is right on three rows of four, the other on the fourth.

        >>> fit_arithmetic(np.array([[1.0, 1.0, 1.0, 1e-9], [1e-9, 1e-9, 1e-9, 1.0]])).round(3).tolist()
        [0.75, 0.25]
    """

    def objective(weights: FloatArray) -> tuple[float, FloatArray]:
        mixture = weights @ probabilities
        slope = 1 - (probabilities / mixture).mean(axis=1)
        return float(weights.sum() - np.log(mixture).mean()), slope

    return _minimise_on_simplex(objective, len(probabilities))


def fit_geometric(log_probabilities: Sequence[NDArray[Any]], labels: IntArray) -> FloatArray:
    """The weights (M,) of a log-linear pool.

    Weights with a free sum s describe the pool and a temperature 1/s at once, and the loss is convex in them
    (a multinomial logistic regression with M features a class). The sum is then left to the calibration.
    """

    def objective(weights: FloatArray) -> tuple[float, FloatArray]:
        loss, slope = 0.0, np.zeros(len(weights))
        for start in range(0, len(labels), _CHUNK):
            part = slice(start, start + _CHUNK)
            more = _geometric_sums(weights, [member[part] for member in log_probabilities], labels[part])
            loss, slope = loss + more[0], slope + more[1]
        return loss / len(labels), slope / len(labels)

    return _minimise_on_simplex(objective, len(log_probabilities))


def _geometric_sums(
    weights: FloatArray, log_probabilities: Sequence[NDArray[Any]], labels: IntArray
) -> tuple[float, FloatArray]:
    """Of some rows: the sum of the loss, and of its derivatives by the weights (M,)."""
    pooled = centre(_weighted_sum(log_probabilities, weights))
    # The loss is the distance of the true class from the row's largest logit, plus the log of the sum.
    shift = true_class(pooled, labels)
    exponentials = np.exp(pooled, out=pooled)
    totals = exponentials.sum(axis=1)
    slopes = [
        (np.einsum("nc,nc->n", exponentials, member) / totals - true_class(member, labels)).sum()
        for member in log_probabilities
    ]
    return float((np.log(totals) - shift).sum()), np.array(slopes)


def _minimise_on_simplex(objective: _Objective, members: int) -> FloatArray:
    """Minimises over weights ≥ 0 from equal weights and divides the result by its sum."""
    from scipy.optimize import minimize

    if members == 1:
        return np.ones(1)
    result = minimize(
        objective,
        np.full(members, 1 / members),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1e-9, 50.0)] * members,  # above 0: the logarithm of an empty mixture does not exist
        options={"ftol": 1e-11, "gtol": 1e-7},
    )
    weights: FloatArray = result.x / result.x.sum()
    return weights


def _weighted_sum(arrays: Sequence[NDArray[Any]], weights: FloatArray) -> FloatArray:
    total = np.zeros(arrays[0].shape)
    for array, weight in zip(arrays, weights, strict=True):
        total += weight * array
    return total
