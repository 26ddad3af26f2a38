"""What other choices than the ensemble would have come to: trials in, a cross-fitted log loss for each choice out.

Each is scored as the ensemble is: every fold by what the other folds chose and fitted. They say what pooling,
calibration and the number of members are worth on these very photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from automl_car.ensemble.estimate import SINGLE, CrossFit, OutOfFold, cross_fit
from automl_car.ensemble.fitting import Plan
from automl_car.ensemble.pool import SMALLEST_PROBABILITY
from automl_car.ensemble.quick import choose_pool
from automl_car.ensemble_records import Alternative
from automl_car.losses import row_losses
from automl_car.records import FloatArray, IntArray

SIZES = (1, 3, 5, 10)  # of pools whose log loss is told
_UNIFORM = 5  # trials in the plain mean
_GREEDY_STEPS = 40  # more of them only overfit, as AutoGluon's maintainers found


def compare_alternatives(
    trials: OutOfFold, cross_fits: Mapping[Plan, CrossFit], plan: Plan, top_k: int
) -> Iterator[Alternative]:
    """Yield the alternatives, the simplest first.

    Args:
        trials: that the ensemble was built from.
        cross_fits: of the plans that were compared.
        plan: that was taken.
        top_k: most members of the ensemble.
    """
    yield Alternative("best trial alone, calibrated", cross_fits[SINGLE].log_loss)
    yield Alternative(f"plain mean of the {min(_UNIFORM, len(trials.candidates))} best trials", _plain_mean(trials))
    yield Alternative("greedy selection with replacement, no calibration", _greedy(trials))
    uncalibrated = Plan(plan.pool, plan.weighting, plan.members, plan.tempered, calibration="none")
    yield Alternative("this pool without calibration", cross_fits[uncalibrated].log_loss)
    for size in SIZES:
        if size <= len(trials.candidates) and size != top_k:
            cross_fitted = cross_fit(trials, top_k=size, plans=[plan])[plan]
            yield Alternative(f"at most {size} member{'s' if size > 1 else ''}", cross_fitted.log_loss)


def _plain_mean(trials: OutOfFold) -> float:
    """The mean probabilities, as they come from the networks, of the trials that are best on the other folds."""
    raw = [np.exp(-row_losses(candidate.oof_logits, trials.labels)) for candidate in trials.candidates]
    losses = -np.log(trials.calibrated.probabilities)

    def predict(others: IntArray, held: IntArray) -> FloatArray:
        best = np.argsort(losses[:, others].mean(axis=1), kind="stable")[:_UNIFORM]
        mean: FloatArray = np.mean([raw[index][held] for index in best], axis=0)
        return mean

    return _cross_fitted(trials, predict)


def _greedy(trials: OutOfFold) -> float:
    """Ensemble selection with replacement (Caruana et al., 2004), of trials with their temperatures."""
    probabilities = trials.calibrated.probabilities
    losses = -np.log(probabilities)

    def predict(others: IntArray, held: IntArray) -> FloatArray:
        chosen = choose_pool([row[others] for row in losses], _GREEDY_STEPS)
        times = np.bincount(chosen, minlength=len(probabilities))  # a copy for each step would be the largest array
        mean: FloatArray = (times / len(chosen)) @ probabilities[:, held]
        return mean

    return _cross_fitted(trials, predict)


def _cross_fitted(trials: OutOfFold, predict: Callable[[IntArray, IntArray], FloatArray]) -> float:
    """The log loss where `predict` gives the true-class probabilities of held rows, chosen on the other rows."""
    total = 0.0
    for fold in np.unique(trials.folds):
        held = np.flatnonzero(trials.folds == fold)
        true_class = predict(np.flatnonzero(trials.folds != fold), held)
        total -= float(np.log(np.maximum(true_class, SMALLEST_PROBABILITY)).sum())
    return total / len(trials.labels)
