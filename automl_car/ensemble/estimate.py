"""An honest number: candidates, labels and folds in; the cross-fitted loss of each row under each plan out.

A pool scored on the rows that its weights were fitted on looks better than it is. So each fold is scored by a
pool whose members, temperatures, weights and calibration were all fitted on the other folds.

What this does not cure: a checkpoint that was chosen on the fold it is scored on, and photos of one car in two folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from automl_car.ensemble.fitting import (
    CalibrationKind,
    FittedPool,
    Plan,
    TemperedMembers,
    fit_pools,
    predict,
    temper,
)
from automl_car.ensemble.pool import PoolKind
from automl_car.ensemble.select import choose_members
from automl_car.ensemble_records import Candidate
from automl_car.losses import true_class
from automl_car.records import FloatArray, IntArray

SINGLE = Plan("geometric", "uniform", members=1)
"""The best trial alone; a pool of one is the same under either mean."""

POOLS = tuple(Plan(pool, weighting) for pool in ("arithmetic", "geometric") for weighting in ("fitted", "uniform"))

_CALIBRATIONS: tuple[CalibrationKind, ...] = ("none", "temperature", "full")

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
class OutOfFold:
    """All that an ensemble is chosen by.

    Attributes:
        candidates: whose `oof_logits` have a row for each of `labels`.
        calibrated: of these candidates. Its temperatures, one number for all rows, only serve to choose members
            and as starting points; those of the members are fitted again.
        labels: class indices (N,).
        folds: (N,), from `splits`.
    """

    candidates: Sequence[Candidate]
    calibrated: Calibrated
    labels: IntArray
    folds: IntArray


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


def cross_fit(trials: OutOfFold, *, top_k: int, plans: Sequence[Plan] = (SINGLE, *POOLS)) -> dict[Plan, CrossFit]:
    """Every plan's losses on rows that it was not fitted on.

    Args:
        trials: what to fit.
        top_k: most members.
        plans: to fit.
    """
    losses = {plan: np.empty(len(trials.labels)) for plan in plans}
    pools: dict[Plan, dict[int, FittedPool]] = {plan: {} for plan in plans}
    for fold in np.unique(trials.folds).tolist():
        held = np.flatnonzero(trials.folds == fold)
        for plan, fitted in _fit_plans(plans, trials, np.flatnonzero(trials.folds != fold), top_k):
            pools[plan][fold] = fitted
            losses[plan][held] = _losses(fitted, trials, held)
    return {plan: CrossFit(losses[plan], pools[plan]) for plan in plans}


def _fit_plans(
    plans: Sequence[Plan], trials: OutOfFold, rows: IntArray, top_k: int
) -> Iterator[tuple[Plan, FittedPool]]:
    """All plans on these rows; the members' tempered copies are shared between them, then freed."""
    for tempered in (True, False):
        alike = [plan for plan in plans if plan.tempered == tempered]
        if alike:
            yield from fit_pools(alike, choose_and_temper(trials, rows, top_k, tempered=tempered)).items()


def choose_and_temper(
    trials: OutOfFold, rows: IntArray | slice, top_k: int, *, tempered: bool = True
) -> TemperedMembers:
    """The members that these rows choose, with the temperatures that these rows ask for, or with none."""
    chosen = choose_members(trials.calibrated.probabilities[:, rows], top_k)
    logits = (trials.candidates[index].oof_logits[rows] for index in chosen)
    starts = [float(trials.calibrated.temperatures[index]) if tempered else None for index in chosen]
    return temper(chosen, logits, trials.labels[rows], starts=starts)


def _losses(fitted: FittedPool, trials: OutOfFold, rows: IntArray) -> FloatArray:
    """The loss of each of these rows under a pool."""
    losses = np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        probabilities = _predict_rows(fitted, trials.candidates, part)
        losses[start : start + _CHUNK] = -np.log(true_class(probabilities, trials.labels[part]))
    return losses


def _predict_rows(fitted: FittedPool, candidates: Sequence[Candidate], rows: IntArray) -> FloatArray:
    return predict(fitted, (candidates[index].oof_logits[rows] for index in fitted.members))


def cross_fitted_probabilities(cross_fit: CrossFit, trials: OutOfFold) -> FloatArray:
    """Float64 (N, C): each row by the pool that did not see it."""
    probabilities = np.empty(trials.candidates[0].oof_logits.shape)
    for fold, fitted in cross_fit.pools.items():
        rows = np.flatnonzero(trials.folds == fold)
        probabilities[rows] = _predict_rows(fitted, trials.candidates, rows)
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


def variants(plan: Plan) -> tuple[Plan, ...]:
    """The same pool with each way to calibrate it, the simplest first.

    Example:
        >>> len(variants(Plan("geometric", "fitted")))
        6
    """
    return tuple(
        replace(plan, tempered=tempered, calibration=calibration)
        for tempered in (False, True)
        for calibration in _CALIBRATIONS
    )


def refine_plan(cross_fits: Mapping[Plan, CrossFit], plan: Plan) -> Plan:
    """Of the variants of a plan that were cross-fitted the best by nested log loss: what does not improve it goes."""
    there = [variant for variant in variants(plan) if variant in cross_fits]
    return min(there, key=lambda variant: cross_fits[variant].log_loss)  # of equals the first, which is the simplest


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
