"""The one number that calibrates a network best: logits and labels in, a temperature out (Guo et al. 2017, 1706.04599).

Training uses it to compare folds, the ensemble to calibrate its members and their pool.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.losses import centre, softmax, true_class
from automl_car.records import IntArray

TEMPERATURES = (0.05, 20.0)
# Rows that say T = 1: nothing beside a thousand photos, much beside twenty that are all right by luck. Chosen by pools
# fitted on 18 to 500 photos and judged on the others, of the generated cars and of 60 car models.
PRIOR = 2.0
_CHUNK = 1024  # rows whose float64 copies are in memory at a time


def fit_temperature(logits: NDArray[Any], labels: IntArray, *, start: float = 1.0, prior: float = 0.0) -> float:
    """The temperature of least log loss, within `TEMPERATURES`.

    The loss is convex in β = 1/T, and so is what a prior adds to it, `sharpness(β)` of `prior` rows. Newton's method
    finds the minimum in about six passes over the logits; wherever a step leaves the interval that is known to hold
    it, bisection (of log β) takes over.

    Args:
        logits: (N, C), any float type.
        labels: class indices (N,).
        start: a guess; a close one saves passes.
        prior: how strongly T is drawn towards 1, against the N rows that say what it should be.

    Returns:
        T. Logits that separate the classes perfectly ask for T = 0, and without a prior stop where the loss no longer
        changes or at the lower bound; logits that say nothing give `start`.
    """
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    beta = float(np.clip(1 / start, low, high))
    for _ in range(60):
        slope, curvature = _slope_and_curvature(logits, labels, beta)
        slope += prior / len(labels) * (1 - 1 / beta)
        curvature += prior / len(labels) / beta**2
        if abs(slope) * beta < 1e-10:
            break
        low, high = (low, beta) if slope > 0 else (beta, high)
        newton = beta - slope / max(curvature, 1e-300)
        following = newton if low < newton < high else float(np.sqrt(low * high))
        if abs(following - beta) < 1e-7 * beta:
            break
        beta = following
    return 1 / beta


def sharpness(beta: float) -> float:
    """What a prior on β = 1/T costs: β - log β - 1, 0 at T = 1, steep for sharper and flat for softer answers.

    It is the negative logarithm of a Gamma density with its mode at 1. Few photos may all be right by luck, and would
    then ask for certainty, of which a single wrong photo among those that nobody saw has to pay the price.

    Example:
        >>> [round(sharpness(beta), 2) for beta in (0.1, 0.5, 1.0, 2.0, 10.0)]
        [1.4, 0.19, 0.0, 0.31, 6.7]
    """
    return beta - math.log(beta) - 1


def _slope_and_curvature(logits: NDArray[Any], labels: IntArray, beta: float) -> tuple[float, float]:
    """First and second derivative of the mean loss by β: the mean error of E[z], and the mean variance of z.

    The rows are taken a chunk at a time, so that the float64 copies stay small.
    """
    error, variance = 0.0, 0.0
    for start in range(0, len(labels), _CHUNK):
        part = slice(start, start + _CHUNK)
        centred = centre(logits[part])
        probabilities = softmax(beta * centred)
        weighted = probabilities * centred
        expected = weighted.sum(axis=1)
        error += float((expected - true_class(centred, labels[part])).sum())
        variance += float((np.einsum("nc,nc->n", weighted, centred) - expected**2).sum())
    return error / len(labels), variance / len(labels)
