"""Who joins the pool: the true-class probabilities of all candidates (M, N) in; indices of at most k members out.

Rank alone picks near-copies of the best trial. Forward selection asks of each candidate what it adds to those already
chosen (Caruana et al. 2004). Where the original repeats members to give them weight, the weights are here
refitted exactly after each step: they are a convex problem of k numbers.
"""

from __future__ import annotations

import numpy as np

from automl_car.ensemble.pool import fit_arithmetic
from automl_car.records import FloatArray

SMALLEST_GAIN = 1e-4
"""In nats. Below it an addition fits noise: with 33,000 photos a weight costs about as much."""

_SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)


def choose_members(probabilities: FloatArray, top_k: int, *, smallest_gain: float = SMALLEST_GAIN) -> tuple[int, ...]:
    """Indices of the members, in the order in which they were chosen, the best single candidate first.

    Args:
        probabilities: (M, N), what each candidate, calibrated, gave the right class of each row; above 0.
        top_k: most members.
        smallest_gain: an addition must lower the mixture's log loss by more than this.

    Example:
        The second is a copy of the first; the third is worse, but right where the first is wrong.

        >>> choose_members(np.array([[0.9, 0.9, 0.1], [0.9, 0.9, 0.1], [0.1, 0.1, 0.9]]), top_k=2)
        (0, 2)
    """
    chosen = [int(np.argmin(-np.log(probabilities).mean(axis=1)))]
    mixture = probabilities[chosen[0]]
    while len(chosen) < min(top_k, len(probabilities)):
        chosen.append(_best_addition(probabilities, mixture, chosen))
        better = fit_arithmetic(probabilities[chosen]) @ probabilities[chosen]
        if _log_loss(mixture) - _log_loss(better) <= smallest_gain:
            return tuple(chosen[:-1])
        mixture = better
    return tuple(chosen)


def _best_addition(probabilities: FloatArray, mixture: FloatArray, chosen: list[int]) -> int:
    """The candidate that lowers the mixture's log loss most, at the best of some shares."""
    losses = [
        np.inf if candidate in chosen else min(_log_loss((1 - share) * mixture + share * row) for share in _SHARES)
        for candidate, row in enumerate(probabilities)
    ]
    return int(np.argmin(losses))


def _log_loss(true_class: FloatArray) -> float:
    return -float(np.log(true_class).mean())
