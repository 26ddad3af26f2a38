"""From scores to honest probabilities: logits (N, C) and labels in; a temperature and a floor out.

    q = (1 - λ) · softmax(z / T) + λ / C

The temperature T sharpens (T < 1) or softens (T > 1) all rows alike (Guo et al. 2017, arXiv 1706.04599). Pools of
models trained with mixup or label smoothing are under-confident, so T < 1 is common (Wen et al., arXiv 2010.09875).
The uniform share λ replaces clipping: it estimates how often a label is simply wrong, and it is never 0, so that
no single photo can cost more than log(C / λ).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.losses import centre, true_class
from automl_car.records import FloatArray, IntArray

TEMPERATURES = (0.05, 20.0)
UNIFORM_SHARES = (1e-6, 0.2)
START_SHARE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """The two numbers of the module's formula.

    Attributes:
        temperature: T, in 0.05 … 20.
        uniform: λ, in 1e-6 … 0.2.
    """

    temperature: float
    uniform: float


def apply(calibration: Calibration, logits: NDArray[Any]) -> FloatArray:
    """Calibrated probabilities, float64 (N, C), all above 0; rows sum to 1.

    Example:
        >>> apply(Calibration(temperature=2.0, uniform=0.1), np.array([[2 * np.log(4.0), 0.0]])).round(3).tolist()
        [[0.77, 0.23]]
    """
    probabilities = _softmax(centre(logits) / calibration.temperature)
    probabilities *= 1 - calibration.uniform
    probabilities += calibration.uniform / probabilities.shape[1]
    return probabilities


def fit_temperature(logits: NDArray[Any], labels: IntArray, *, start: float = 1.0) -> float:
    """The temperature of least log loss, within `TEMPERATURES`.

    The loss is convex in β = 1/T. Newton's method finds its minimum in about six passes over the logits; wherever a
    step leaves the interval that is known to hold the minimum, bisection (of log β) takes over.

    Args:
        logits: (N, C), any float type.
        labels: class indices (N,).
        start: a guess; a close one saves passes.

    Returns:
        T. Logits that separate the classes perfectly ask for T = 0, and stop where the loss no longer changes or at
        the lower bound; logits that say nothing give `start`.
    """
    centred = centre(logits)
    true_logits = true_class(centred, labels)
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    beta = float(np.clip(1 / start, low, high))
    for _ in range(60):
        slope, curvature = _slope_and_curvature(centred, true_logits, beta)
        if abs(slope) * beta < 1e-10:
            break
        low, high = (low, beta) if slope > 0 else (beta, high)
        newton = beta - slope / max(curvature, 1e-300)
        following = newton if low < newton < high else float(np.sqrt(low * high))
        if abs(following - beta) < 1e-7 * beta:
            break
        beta = following
    return 1 / beta


def _slope_and_curvature(centred: FloatArray, true_logits: FloatArray, beta: float) -> tuple[float, float]:
    """First and second derivative of the mean loss by β: the mean error of E[z], and the mean variance of z."""
    probabilities = _softmax(beta * centred)
    weighted = probabilities * centred
    expected = weighted.sum(axis=1)
    variance = np.einsum("nc,nc->n", weighted, centred) - expected**2
    return float((expected - true_logits).mean()), float(variance.mean())


def fit_calibration(logits: NDArray[Any], labels: IntArray, *, start: float = 1.0) -> Calibration:
    """The temperature and uniform share of least log loss, fitted together.

    Alone, T is bound to soften every row for the sake of a few mislabelled photos; with λ to account for those, it
    can stay sharp. Both are fitted on a log scale by L-BFGS-B with exact gradients, from the best T at a small λ.

    Args:
        logits: (N, C), any float type.
        labels: class indices (N,).
        start: a guess of the temperature.
    """
    from scipy.optimize import minimize

    centred = centre(logits)
    true_logits = true_class(centred, labels)
    first = [-np.log(fit_temperature(centred, labels, start=start)), np.log(START_SHARE)]
    result = minimize(
        _loss_and_gradient,
        np.array(first),
        args=(centred, true_logits),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])), tuple(np.log(UNIFORM_SHARES))],
        options={"ftol": 1e-10, "gtol": 1e-7},
    )
    return Calibration(temperature=float(np.exp(-result.x[0])), uniform=float(np.exp(result.x[1])))


def _loss_and_gradient(point: FloatArray, centred: FloatArray, true_logits: FloatArray) -> tuple[float, FloatArray]:
    """Mean loss of the two-parameter calibration at (log β, log λ), and its gradient there."""
    beta, share = np.exp(point)
    floor = 1 / centred.shape[1]
    probabilities = np.exp(beta * centred)
    totals = probabilities.sum(axis=1)
    softmax_true = np.exp(beta * true_logits) / totals
    expected = np.einsum("nc,nc->n", probabilities, centred) / totals
    mixed = (1 - share) * softmax_true + share * floor
    by_beta = -((1 - share) * softmax_true * (true_logits - expected) / mixed).mean()
    by_share = -((floor - softmax_true) / mixed).mean()
    return float(-np.log(mixed).mean()), np.array([beta * by_beta, share * by_share])


def _softmax(centred: FloatArray) -> FloatArray:
    """Probabilities from logits whose row maximum is 0."""
    exponentials: FloatArray = np.exp(centred)
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials
