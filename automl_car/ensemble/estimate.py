"""An honest number: candidates, labels and folds in; the cross-fitted loss of each row under each plan out.

A pool scored on the rows that its weights were fitted on looks better than it is. So each fold is scored by a
pool whose members, temperatures, weights and calibration were all fitted on the other folds.

What this does not cure: a checkpoint that was chosen on the fold it is scored on, and photos of one car in two folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from automl_car.ensemble.fitting import FittedPool, Plan, TemperedMembers, fit_pool, predict, temper
from automl_car.ensemble.pool import PoolKind
from automl_car.ensemble.select import choose_members
from automl_car.losses import true_class
from automl_car.records import Candidate, FloatArray, IntArray

SINGLE = Plan("geometric", "uniform", members=1)
"""The best trial alone; a pool of one is the same under either mean."""

POOLS = tuple(Plan(pool, weighting) for pool in ("arithmetic", "geometric") for weighting in ("fitted", "uniform"))

_SPLITS_OF_ONE_FOLD = 5
_CHUNK = 1024  # rows that are copied and predicted at a time


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What is known of every candidate before any is chosen.

    Attributes:
        temperatures: (M,), fitted on all rows.
        probabilities: (M, N), what each then gave the right class of each row.
    """

    temperatures: FloatArray
    probabilities: FloatArray


@dataclass(frozen=True, eq=False)
class CrossFit:
    """One plan, cross-fitted.

    Attributes:
        row_losses: (N,), each row under the pool that did not see it.
        pools: that pool, by fold.
    """

    row_losses: FloatArray
    pools: Mapping[int, FittedPool]

    @property
    def log_loss(self) -> float:
        """The nested log loss."""
        return float(self.row_losses.mean())

    @property
    def standard_error(self) -> float:
        """Of `log_loss`, from the spread over rows."""
        return standard_error(self.row_losses)


def standard_error(values: FloatArray) -> float:
    """Of the mean of these values."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def cross_fit(
    candidates: Sequence[Candidate], calibrated: Calibrated, labels: IntArray, folds: IntArray, *, top_k: int
) -> dict[Plan, CrossFit]:
    """Every plan's losses on rows that it was not fitted on.

    Args:
        candidates: whose `oof_logits` have a row for each of `labels`.
        calibrated: of these candidates. Its temperatures, one number for all rows, only serve to choose members
            and as starting points; those of the members are fitted again.
        labels: class indices (N,).
        folds: (N,), from `splits`.
        top_k: most members.
    """
    losses = {plan: np.empty(len(labels)) for plan in (SINGLE, *POOLS)}
    pools: dict[Plan, dict[int, FittedPool]] = {plan: {} for plan in losses}
    for fold in np.unique(folds).tolist():
        held = np.flatnonzero(folds == fold)
        for plan, fitted in _fit_plans(candidates, calibrated, labels, np.flatnonzero(folds != fold), top_k).items():
            pools[plan][fold] = fitted
            losses[plan][held] = _losses(fitted, candidates, labels, held)
    return {plan: CrossFit(losses[plan], pools[plan]) for plan in losses}


def _fit_plans(
    candidates: Sequence[Candidate], calibrated: Calibrated, labels: IntArray, rows: IntArray, top_k: int
) -> dict[Plan, FittedPool]:
    """All plans on these rows; the members' tempered copies are shared between them, then freed."""
    members = choose_and_temper(candidates, calibrated, labels, rows, top_k)
    return {plan: fit_pool(plan, members) for plan in (SINGLE, *POOLS)}


def choose_and_temper(
    candidates: Sequence[Candidate], calibrated: Calibrated, labels: IntArray, rows: IntArray | slice, top_k: int
) -> TemperedMembers:
    """The members that these rows choose, with the temperatures that these rows ask for."""
    chosen = choose_members(calibrated.probabilities[:, rows], top_k)
    logits = (candidates[index].oof_logits[rows] for index in chosen)
    return temper(chosen, logits, labels[rows], starts=calibrated.temperatures[list(chosen)].tolist())


def _losses(fitted: FittedPool, candidates: Sequence[Candidate], labels: IntArray, rows: IntArray) -> FloatArray:
    """The loss of each of these rows under a pool."""
    losses = np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        probabilities = _predict_rows(fitted, candidates, part)
        losses[start : start + _CHUNK] = -np.log(true_class(probabilities, labels[part]))
    return losses


def _predict_rows(fitted: FittedPool, candidates: Sequence[Candidate], rows: IntArray) -> FloatArray:
    return predict(fitted, (candidates[index].oof_logits[rows] for index in fitted.members))


def cross_fitted_probabilities(cross_fit: CrossFit, candidates: Sequence[Candidate], folds: IntArray) -> FloatArray:
    """Float64 (N, C): each row by the pool that did not see it."""
    probabilities = np.empty(candidates[0].oof_logits.shape)
    for fold, fitted in cross_fit.pools.items():
        rows = np.flatnonzero(folds == fold)
        probabilities[rows] = _predict_rows(fitted, candidates, rows)
    return probabilities


def choose_plan(cross_fits: Mapping[Plan, CrossFit], *, pool: PoolKind | None = None) -> Plan:
    """The plan to ship, by nested log loss; each step up in complexity has to pay.

    1. The pool is the mean that does best, with whichever weights, or the one that was asked for.
    2. Its weights are uniform unless fitted ones gain more than a standard error of the paired difference.
    3. The best trial stays alone unless that pool beats it.
    """
    allowed = [plan for plan in POOLS if pool in (None, plan.pool)]
    best = min(allowed, key=lambda plan: cross_fits[plan].log_loss)
    fitted, uniform = Plan(best.pool, "fitted"), Plan(best.pool, "uniform")
    gains = cross_fits[uniform].row_losses - cross_fits[fitted].row_losses
    plan = fitted if gains.mean() > standard_error(gains) else uniform
    return plan if cross_fits[plan].log_loss < cross_fits[SINGLE].log_loss else SINGLE


def splits(folds: IntArray) -> IntArray:
    """The folds to cross-fit over: those given, or five random ones, always the same, where all rows are of one fold.

    Example:
        >>> splits(np.array([0, 0, 2, 2])).tolist()
        [0, 0, 2, 2]
        >>> sorted(splits(np.array([3, 3, 3, 3, 3, 3])).tolist())
        [0, 0, 1, 2, 3, 4]
    """
    if len(np.unique(folds)) > 1:
        return folds
    return np.random.default_rng(0).permutation(np.arange(len(folds)) % _SPLITS_OF_ONE_FOLD)
