"""Whether the finished folds of a trial that was stopped make the ensemble of the complete ones better.

Such a trial has logits for some of the rows only. So a second ensemble is built on those rows, of all complete trials
and this one, and has to beat the first one there, photo by photo, each under pools that did not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.estimate import standard_error
from automl_car.ensemble_records import Candidate, Ensemble
from automl_car.losses import true_class
from automl_car.records import FloatArray, Folds, IntArray


def join_stopped(
    alone: Ensemble,
    complete: Sequence[Candidate],
    stopped: Candidate,
    rows: IntArray,
    labels: IntArray,
    folds: Folds,
    *,
    top_k: int,
) -> Ensemble | None:
    """The ensemble with the stopped trial, where it pays.

    Args:
        alone: of the complete trials, with all rows; it has seen more rows than the other, so the test is a strict one.
        complete: the trials that it was built from, cut down to `rows` by `on_rows`.
        stopped: its out-of-fold logits are those of `rows`.
        rows: of its finished folds, ascending.
        labels, folds: of all rows.
        top_k: most members.

    Returns:
        The second ensemble, measured on `rows` alone, or None where it does not gain more than a standard error of the
        differences, or does without the stopped trial.
    """
    groups = None if folds.groups is None else folds.groups[rows]
    together = [*complete, stopped]
    built = build_ensemble(together, labels[rows], folds.assignment[rows], top_k=top_k, groups=groups)
    if stopped.name not in {member.name for member in built.members}:
        return None
    before = _losses(alone.oof_probabilities[rows], labels[rows])
    gains = before - _losses(built.oof_probabilities, labels[rows])
    return built if gains.mean() > standard_error(gains) else None


def on_rows(candidates: list[Candidate], rows: IntArray) -> None:
    """Cut these candidates' logits down to some rows, in place and one by one: two copies of all would not fit."""
    for index, candidate in enumerate(candidates):
        candidates[index] = replace(candidate, oof_logits=candidate.oof_logits[rows])


def _losses(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    losses: FloatArray = -np.log(true_class(probabilities, labels))
    return losses
