"""From a study's finished folds to a calibrated ensemble; needs neither torch nor the plugins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.config import Config
from automl_car.ensemble.averaging import averaging_gain
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.candidates import is_finite, rows_of
from automl_car.ensemble.joining import join_stopped, on_rows
from automl_car.ensemble_records import Candidate, Ensemble
from automl_car.errors import StoreError, StudyError
from automl_car.pipeline.finished_folds import FinishedFolds, open_folds
from automl_car.records import IntArray
from automl_car.search.evidence import expected_mean, fold_losses
from automl_car.search.opening import read_study
from automl_car.search.study import INTERRUPTED, complete_trials
from automl_car.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Pooled:
    """An ensemble, and which photos its numbers are of.

    Attributes:
        ensemble: of at most top-k members.
        rows: int64: training rows, ascending.
        partial: why they are not all of them; empty where they are.
    """

    ensemble: Ensemble
    rows: IntArray
    partial: str


def pool_study(
    workspace: Workspace, config: Config, study: str, top_k: int, *, thorough: bool = False
) -> tuple[optuna.Study, FinishedFolds, Pooled]:
    """A study, its finished folds, and their ensemble; nothing is written.

    Args:
        thorough: see `pool`.

    Raises:
        StudyError: there is no such study, or no fold of it is finished.
        StoreError: a fold that is needed is damaged.
    """
    loaded = read_study(workspace.studies, study, config.search.storage)
    finished = open_folds(workspace, study)
    pooled = pool(loaded, finished, top_k, thorough=thorough)
    if pooled is None:
        raise StudyError(
            f"No fold of study `{study}` is finished, so there is no ensemble yet.",
            hint="run `automl-car search` again: it goes on where it stopped.",
        )
    return loaded, finished, pooled


def pool(study: optuna.Study, finished: FinishedFolds, top_k: int, *, thorough: bool = True) -> Pooled | None:
    """The ensemble, or None while no fold is finished.

    Args:
        top_k: members at most.
        thorough: whether to tell, too, what to expect of the test set, and what other choices would have come to.

    Raises:
        StoreError: a fold that is needed is damaged.
    """
    with _damage_explained():
        pooled = _pool(study, finished, top_k, thorough)
        if pooled is None:
            return None
        built = _with_averaging(pooled.ensemble, finished) if thorough else pooled.ensemble
        answers = finished.with_answers(built.test_probabilities)
        return replace(pooled, ensemble=replace(built, test_probabilities=answers))


def complete_candidates(study: optuna.Study, finished: FinishedFolds, most_views: int = 0) -> tuple[Candidate, ...]:
    """The complete trials, the best first, equal recipes once.

    Args:
        most_views: see `read_candidate`.

    Raises:
        StoreError: a fold is damaged.
    """
    with _damage_explained():
        every = range(finished.folds.count)
        return tuple(
            one for trial in _distinct(study) if is_finite(one := finished.candidate(trial, every, most_views))
        )


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StoreError(error.message, hint="run `automl-car search` again: it trains that fold once more.") from error


def _with_averaging(built: Ensemble, finished: FinishedFolds) -> Ensemble:
    folds = sorted({fold for member in built.members for fold in member.folds})
    gain = averaging_gain(built, folds, finished.test_logits)
    return replace(built, estimate=built.estimate.with_averaging(gain))


# ---- which trials ---------------------------------------------------------------------------------------------------


def _pool(study: optuna.Study, finished: FinishedFolds, top_k: int, thorough: bool) -> Pooled | None:
    complete = _distinct(study)
    if not complete:
        return _pool_of_one(study, finished, top_k)
    candidates = [finished.candidate(trial, range(finished.folds.count)) for trial in complete]
    candidates = [candidate for candidate in candidates if is_finite(candidate)]
    if not candidates:
        return None
    every = np.arange(len(finished.labels))
    alone = _build(candidates, finished, every, top_k, compare=thorough)
    stopped = _stopped(study, complete)
    joined = _join(alone, candidates, stopped, finished, top_k) if stopped else None
    return joined or Pooled(alone, every, "")


def _distinct(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, the best first; equal recipes join once."""
    by_recipe = {trial.user_attrs["recipe_id"]: trial for trial in reversed(complete_trials(study))}
    return list(by_recipe.values())[::-1]


def _build(
    candidates: Sequence[Candidate], finished: FinishedFolds, rows: IntArray, top_k: int, *, compare: bool
) -> Ensemble:
    folds, groups = finished.folds, finished.folds.groups
    return build_ensemble(
        candidates,
        finished.labels[rows],
        folds.assignment[rows],
        top_k=top_k,
        groups=None if groups is None else groups[rows],
        compare=compare,
    )


def _pool_of_one(study: optuna.Study, finished: FinishedFolds, top_k: int) -> Pooled | None:
    """While no trial is complete: of the one with most finished folds, on the rows of those folds."""
    begun = [trial for trial in study.get_trials(deepcopy=False) if _all_finite(fold_losses(trial))]
    if not begun:
        return None
    most = min(begun, key=lambda trial: (-len(fold_losses(trial)), trial.number))
    done = sorted(fold_losses(most))
    rows = rows_of(finished.folds, done)
    candidate = finished.candidate(most, done)
    if not is_finite(candidate):
        return None
    built = _build([candidate], finished, rows, top_k, compare=False)
    return Pooled(built, rows, _why_partial(most, rows, finished))


def _why_partial(trial: FrozenTrial, rows: IntArray, finished: FinishedFolds) -> str:
    """Why an ensemble's numbers are of some photos alone; empty where they are of all."""
    photos = len(finished.labels)
    if len(rows) == photos:
        return ""
    has = f"trial {trial.number} has {len(fold_losses(trial))} of {finished.folds.count} folds"
    return f"{has}, so these numbers are of {len(rows)} of {photos} photos"


def _stopped(study: optuna.Study, complete: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Of the trials that a stop cut off, the one to try: that with most finished folds, then with the best ones.

    A recipe that was taken up again and then ended for good, in whatever way, is none of them.
    """
    trials = study.get_trials(deepcopy=False)
    ended = {trial.user_attrs.get("recipe_id") for trial in trials if _ended_for_good(trial)}
    stopped = [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and _all_finite(fold_losses(trial))
        and trial.user_attrs["recipe_id"] not in ended
    ]
    compared = [fold_losses(trial) for trial in complete]
    return min(
        stopped,
        key=lambda trial: (-len(fold_losses(trial)), expected_mean(fold_losses(trial), compared), trial.number),
        default=None,
    )


def _all_finite(losses: Mapping[int, float]) -> bool:
    """Whether there are any, and every one is a number."""
    return bool(losses) and all(math.isfinite(loss) for loss in losses.values())


def _ended_for_good(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and not trial.user_attrs.get(INTERRUPTED)


def _join(
    alone: Ensemble, candidates: list[Candidate], stopped: FrozenTrial, finished: FinishedFolds, top_k: int
) -> Pooled | None:
    """The ensemble with the stopped trial where it pays. Afterwards the candidates have its rows alone."""
    done = sorted(fold_losses(stopped))
    try:
        more = finished.candidate(stopped, done)
    except StoreError:  # the ensemble can do without it; the search trains that fold again when it goes on
        return None
    if not is_finite(more):
        return None
    rows = rows_of(finished.folds, done)
    on_rows(candidates, rows)
    joined = join_stopped(alone, candidates, more, rows, finished.labels, finished.folds, top_k=top_k)
    return Pooled(joined, rows, _why_partial(stopped, rows, finished)) if joined else None
