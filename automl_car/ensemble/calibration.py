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

from automl_car.losses import centre, softmax, true_class
from automl_car.records import FloatArray, IntArray
from automl_car.temperature import PRIOR, TEMPERATURES, fit_temperature, sharpness

UNIFORM_SHARES = (1e-6, 0.2)
START_SHARE = 1e-3
# Rows of a wrong label; chosen together with `PRIOR`, the rows that say T = 1.
PRIOR_MISTAKES = 0.25
_CHUNK = 1024  # rows whose float64 copies are in memory at a time


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
    probabilities = softmax(centre(logits) / calibration.temperature)
    probabilities *= 1 - calibration.uniform
    probabilities += calibration.uniform / probabilities.shape[1]
    return probabilities


def fit_calibration(logits: NDArray[Any], labels: IntArray, *, start: float = 1.0) -> Calibration:
    """The temperature and uniform share of least log loss, fitted together.

    Alone, T is bound to soften every row for the sake of a few mislabelled photos; with λ to account for those, it
    can stay sharp. Both are fitted on a log scale by L-BFGS-B with exact gradients, from the best T at a small λ. On
    few rows a prior decides: that of `fit_temperature` on T, and on λ a density proportional to λ^PRIOR_MISTAKES.

    Args:
        logits: (N, C), any float type.
        labels: class indices (N,).
        start: a guess of the temperature.
    """
    from scipy.optimize import minimize

    first = [-np.log(fit_temperature(logits, labels, start=start, prior=PRIOR)), np.log(START_SHARE)]
    result = minimize(
        _loss_and_gradient,
        np.array(first),
        args=(logits, labels),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-np.log(TEMPERATURES[1]), -np.log(TEMPERATURES[0])), tuple(np.log(UNIFORM_SHARES))],
        options={"ftol": 1e-10, "gtol": 1e-7},
    )
    return Calibration(temperature=float(np.exp(-result.x[0])), uniform=float(np.exp(result.x[1])))


def _loss_and_gradient(point: FloatArray, logits: NDArray[Any], labels: IntArray) -> tuple[float, FloatArray]:
    """Mean loss of the two-parameter calibration at (log β, log λ), and its gradient there."""
    beta, share = np.exp(point)
    sums = np.zeros(3)
    for start in range(0, len(labels), _CHUNK):
        part = slice(start, start + _CHUNK)
        sums += _sums(beta, share, logits[part], labels[part])
    sums += PRIOR * np.array([sharpness(beta), 1 - 1 / beta, 0.0])
    sums -= PRIOR_MISTAKES * np.array([np.log(share), 0.0, 1 / share])
    loss, by_beta, by_share = sums / len(labels)
    return float(loss), np.array([beta * by_beta, share * by_share])


def _sums(beta: float, share: float, logits: NDArray[Any], labels: IntArray) -> FloatArray:
    """Of some rows: the sums of the loss and of its derivatives by β and λ."""
    centred = centre(logits)
    true_logits = true_class(centred, labels)
    floor = 1 / centred.shape[1]
    probabilities = np.exp(beta * centred)
    totals = probabilities.sum(axis=1)
    softmax_true = np.exp(beta * true_logits) / totals
    expected = np.einsum("nc,nc->n", probabilities, centred) / totals
    mixed = (1 - share) * softmax_true + share * floor
    by_beta = -((1 - share) * softmax_true * (true_logits - expected) / mixed).sum()
    by_share = -((floor - softmax_true) / mixed).sum()
    return np.array([-np.log(mixed).sum(), by_beta, by_share])
