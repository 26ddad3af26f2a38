"""`build_ensemble`: the out-of-fold and test logits of all candidates in; the finished `Ensemble` out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.ensemble.alternatives import compare_alternatives
from automl_car.ensemble.bootstrap import bootstrap
from automl_car.ensemble.estimate import (
    SINGLE,
    Calibrated,
    CrossFit,
    OutOfFold,
    choose_and_temper,
    choose_plan,
    cross_fit,
    cross_fitted_probabilities,
    refine_plan,
    splits,
    variants,
)
from automl_car.ensemble.fitting import FittedPool, Plan, TemperedMembers, fit_pool, predict
from automl_car.ensemble.pool import SMALLEST_PROBABILITY, PoolKind
from automl_car.ensemble_records import Candidate, Ensemble, Estimate, Member
from automl_car.errors import ConfigError, DataError
from automl_car.losses import row_losses, true_class
from automl_car.memory import give_back_memory
from automl_car.records import IntArray
from automl_car.temperature import PRIOR, fit_temperature

_CHUNK = 1024  # rows whose float64 copies are in memory at a time


def build_ensemble(
    candidates: Sequence[Candidate],
    labels: IntArray,
    folds: IntArray,
    *,
    top_k: int,
    groups: IntArray | None = None,
    compare: bool = False,
    pool: PoolKind | None = None,
) -> Ensemble:
    """Chooses members, weights and calibration by cross-fitted log loss, then fits them on all rows.

    Args:
        candidates: complete trials. Where only some folds are finished, pass `oof_logits` of those rows, the same
            ones for all candidates, and the labels and folds of those rows; `Ensemble.rows` says how many.
            Logits are read one candidate at a time, so they may be memory maps of any float type.
        labels: class indices (N,).
        folds: the fold of each row (N,). If all are of one fold, five fixed random splits take the folds' place.
        top_k: most members.
        groups: int64 (N,): rows with the same number are copies of one photo; None where there are none.
        compare: whether to tell, too, what other choices would have come to; that takes as long again.
        pool: the only mean that may be chosen; None leaves the choice to the cross-fitted log loss.

    Raises:
        ConfigError: `top_k` is below 1.
        DataError: nothing to build from, shapes that differ, labels outside the classes, or logits that are not finite.
    """
    _check(candidates, labels, folds, top_k)
    give_back_memory()  # reading the candidates took much
    trials = OutOfFold(candidates, _calibrate_each(candidates, labels), labels, splits(folds))
    cross_fits = cross_fit(trials, top_k=top_k)
    first = choose_plan(cross_fits, pool=pool)
    cross_fits |= cross_fit(trials, top_k=top_k, plans=[plan for plan in variants(first) if plan != first])
    plan = refine_plan(cross_fits, first)
    honest, best_single = cross_fits[plan], cross_fits[SINGLE].log_loss
    estimate = _estimate(cross_fits, plan, pool, groups, test_rows=len(candidates[0].test_logits))
    alternatives = tuple(compare_alternatives(trials, cross_fits, plan, top_k)) if compare else ()
    del cross_fits  # the losses of all plans, before the probabilities are made
    fitted, members = _fit_on_all_rows(trials, plan, top_k)
    return Ensemble(
        members=members,
        pool=fitted.pool,
        temperature=fitted.calibration.temperature,
        uniform=fitted.calibration.uniform,
        log_loss=_log_loss(fitted, candidates, labels),
        nested_log_loss=honest.log_loss,
        standard_error=honest.standard_error,
        best_single=best_single,
        oof_probabilities=cross_fitted_probabilities(honest, trials),
        test_probabilities=predict(fitted, (candidates[index].test_logits for index in fitted.members)),
        rows=len(labels),
        estimate=estimate,
        calibration=plan.calibration,
        alternatives=alternatives,
    )


class _Resampled(Mapping[Plan, CrossFit]):
    """Some rows of cross-fits, gathered when they are looked at: those of all plans at once would be a large array."""

    def __init__(self, cross_fits: Mapping[Plan, CrossFit], rows: IntArray) -> None:
        self._cross_fits = cross_fits
        self._rows = rows

    def __getitem__(self, plan: Plan) -> CrossFit:
        return CrossFit(self._cross_fits[plan].row_losses[self._rows], {})

    def __iter__(self) -> Iterator[Plan]:
        return iter(self._cross_fits)

    def __len__(self) -> int:
        return len(self._cross_fits)


def _estimate(
    cross_fits: Mapping[Plan, CrossFit],
    shipped: Plan,
    pool: PoolKind | None,
    groups: IntArray | None,
    *,
    test_rows: int,
) -> Estimate:
    losses = {plan: cross_fitted.row_losses for plan, cross_fitted in cross_fits.items()}
    copies = np.arange(len(losses[shipped])) if groups is None else groups

    def choose(rows: IntArray) -> Plan:
        again = _Resampled(cross_fits, rows)
        return refine_plan(again, choose_plan(again, pool=pool))

    return bootstrap(losses, shipped, choose, copies, test_rows=test_rows)


def _fit_on_all_rows(trials: OutOfFold, plan: Plan, top_k: int) -> tuple[FittedPool, tuple[Member, ...]]:
    """The pool that is shipped, and its members; their tempered copies, the largest arrays of all, are freed again."""
    tempered = choose_and_temper(trials, slice(None), top_k, tempered=plan.tempered)
    fitted = fit_pool(plan, tempered)
    return fitted, _members(trials.candidates, trials.calibrated, plan, tempered, fitted)


def _check(candidates: Sequence[Candidate], labels: IntArray, folds: IntArray, top_k: int) -> None:
    if top_k < 1:
        raise ConfigError(f"An ensemble of at most {top_k} members is empty.", hint="Set --top-k to 1 or more.")
    if not candidates:
        raise DataError("There is no trial to build an ensemble from.", hint="Let a search finish at least one trial.")
    if len(labels) < 2 or len(folds) != len(labels):
        raise DataError(f"An ensemble needs at least 2 rows with a fold each; got {len(labels)} and {len(folds)}.")
    classes, tests = candidates[0].oof_logits.shape[1], len(candidates[0].test_logits)
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"Labels {labels.min()} … {labels.max()} do not fit logits of {classes} classes.")
    problems = [
        f"the {part} logits of {candidate.name} {problem}"
        for candidate in candidates
        for part, logits, rows in (
            ("out-of-fold", candidate.oof_logits, len(labels)),
            ("test", candidate.test_logits, tests),
        )
        for problem in _problems(logits, (rows, classes))
    ]
    if problems:
        raise DataError("Logits that cannot be pooled: " + "; ".join(problems) + ".")


def _problems(logits: NDArray[Any], shape: tuple[int, int]) -> list[str]:
    if logits.shape != shape:
        return [f"have shape {logits.shape}, not {shape}"]
    return [] if np.isfinite(logits).all() else ["hold NaN or infinite values"]


def _calibrate_each(candidates: Sequence[Candidate], labels: IntArray) -> Calibrated:
    temperatures, probabilities = np.empty(len(candidates)), np.empty((len(candidates), len(labels)))
    for index, candidate in enumerate(candidates):
        temperatures[index] = fit_temperature(candidate.oof_logits, labels, prior=PRIOR)
        losses = row_losses(candidate.oof_logits, labels, temperature=float(temperatures[index]))
        np.maximum(np.exp(-losses), SMALLEST_PROBABILITY, out=probabilities[index])
    return Calibrated(temperatures, probabilities)


def _members(
    candidates: Sequence[Candidate], calibrated: Calibrated, plan: Plan, tempered: TemperedMembers, fitted: FittedPool
) -> tuple[Member, ...]:
    """The members of weight above 0, heaviest first."""
    own_losses = -np.log(calibrated.probabilities).mean(axis=1)
    log_loss = _log_loss(fitted, candidates, tempered.labels)
    members = [
        Member(
            name=candidates[index].name,
            backbone=candidates[index].backbone,
            temperature=temperature,
            weight=weight,
            log_loss=float(own_losses[index]),
            gain=_log_loss_without(index, candidates, plan, tempered) - log_loss,
            recipe_id=candidates[index].recipe_id,
            folds=candidates[index].folds,
            views=candidates[index].views,
        )
        for index, temperature, weight in zip(fitted.members, fitted.temperatures, fitted.weights, strict=True)
    ]
    return tuple(sorted(members, key=lambda member: -member.weight))


def _log_loss_without(index: int, candidates: Sequence[Candidate], plan: Plan, tempered: TemperedMembers) -> float:
    """Of the same plan, refitted without one member; without the only one, every class is as likely as any other."""
    others = [position for position, member in enumerate(tempered.indices) if member != index]
    if plan.members == 1 or not others:
        return float(np.log(candidates[index].oof_logits.shape[1]))
    return _log_loss(fit_pool(plan, tempered.take(others)), candidates, tempered.labels)


def _log_loss(fitted: FittedPool, candidates: Sequence[Candidate], labels: IntArray) -> float:
    total = 0.0
    for start in range(0, len(labels), _CHUNK):
        part = slice(start, start + _CHUNK)
        probabilities = predict(fitted, (candidates[index].oof_logits[part] for index in fitted.members))
        total -= float(np.log(true_class(probabilities, labels[part])).sum())
    return total / len(labels)
