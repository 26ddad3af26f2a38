"""From a study's finished folds to a calibrated ensemble and a submission; needs neither torch nor the plugins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_car.config import Config
from automl_car.data.folds import read_folds
from automl_car.data.index import load_dataset
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.candidates import read_candidate, rows_of
from automl_car.ensemble.joining import join_stopped, on_rows
from automl_car.ensemble.submission import write_submission
from automl_car.errors import StoreError, StudyError
from automl_car.files import write_atomically
from automl_car.pipeline.outcome import Outcome, to_json
from automl_car.records import Candidate, Dataset, Ensemble, Folds, IntArray
from automl_car.search.evidence import expected_mean, fold_losses
from automl_car.search.overview import trials_csv
from automl_car.search.study import INTERRUPTED, complete_trials, load_study, storage_url
from automl_car.workspace import Workspace


def ensemble(
    workspace: Workspace,
    config: Config,
    *,
    study: str,
    output: Path | None,
    top_k: int,
    data: tuple[Dataset, Folds] | None = None,
) -> Outcome:
    """Pool and calibrate the study's trials, and write the submission.

    Args:
        output: the submission; by default studies/<study>/submission.csv.
        top_k: members at most.
        data: of the study, where they are at hand; else they are read.

    Raises:
        StudyError: there is no such study.
    """
    loaded, store = _open(workspace, config, study, data)
    dataset = store.dataset
    with _damage_explained():
        built, partial = _build(loaded, store, top_k)
    submission = None
    if built is not None:
        directory = workspace.reports(study)
        directory.mkdir(parents=True, exist_ok=True)
        if dataset.submission is not None:
            submission = output or directory / "submission.csv"
            submission.parent.mkdir(parents=True, exist_ok=True)
            write_submission(submission, built.test_probabilities, dataset)
        write_atomically(directory / "ensemble.json", json.dumps(to_json(built), ensure_ascii=False, indent=1))
        write_atomically(directory / "trials.csv", trials_csv(loaded))
    return _outcome(loaded, study, built, submission, partial)


@dataclass(frozen=True, eq=False)
class Found:
    """An ensemble that was built to be used and not told of, and what it is of."""

    ensemble: Ensemble
    partial: str
    dataset: Dataset
    folds: Folds


def find_ensemble(workspace: Workspace, config: Config, *, study: str, top_k: int) -> Found:
    """The ensemble that `ensemble` builds; nothing is written.

    Raises:
        StudyError: there is no such study, or no fold of it is finished.
    """
    loaded, store = _open(workspace, config, study, None)
    with _damage_explained():
        built, partial = _build(loaded, store, top_k)
    if built is None:
        raise StudyError(f"No fold of study `{study}` is finished yet.", hint="let `automl-car search` go on.")
    return Found(built, partial, store.dataset, store.folds)


def find_candidates(
    workspace: Workspace, config: Config, *, study: str
) -> tuple[tuple[Candidate, ...], Dataset, Folds]:
    """The complete trials, the best first, equal recipes once; and the photos that they are of.

    Raises:
        StudyError: there is no such study, or no trial of it is complete.
    """
    loaded, store = _open(workspace, config, study, None)
    complete = _distinct(loaded)
    if not complete:
        raise StudyError(f"No trial of study `{study}` is complete yet.", hint="let `automl-car search` go on.")
    with _damage_explained():
        candidates = tuple(store.candidate(trial, range(store.folds.count)) for trial in complete)
    return candidates, store.dataset, store.folds


def _open(
    workspace: Workspace, config: Config, study: str, data: tuple[Dataset, Folds] | None
) -> tuple[optuna.Study, _Store]:
    loaded = load_study(study, storage_url(workspace.studies, study, config.search.storage))
    store = workspace.checkpoints(study)
    if not (store / "dataset.json").is_file():
        raise StudyError(f"`{store}` holds no trained folds of study `{study}`.", hint="run `automl-car search` first.")
    return loaded, _Store(store, *(data or _read_data(store)))


@contextmanager
def _damage_explained() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StoreError(error.message, hint="run `automl-car search` again: it trains that fold once more.") from error


def _read_data(store: Path) -> tuple[Dataset, Folds]:
    dataset = load_dataset(store / "dataset.json")
    return dataset, read_folds(store / "folds.csv", dataset, check_files=False)


# ---- from folds to an ensemble --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Store:
    """The finished folds of a study, and the photos that they are of."""

    directory: Path
    dataset: Dataset
    folds: Folds

    @property
    def labels(self) -> IntArray:
        return np.asarray(self.dataset.labels, dtype=np.int64)

    def candidate(self, trial: FrozenTrial, finished: Sequence[int]) -> Candidate:
        attributes = trial.user_attrs
        directory = self.directory / attributes["recipe_id"]
        return read_candidate(f"trial {trial.number}", attributes["backbone"], directory, finished, self.dataset)

    def why_partial(self, trial: FrozenTrial, rows: int) -> str:
        """Why an ensemble's numbers are of some photos alone; empty where they are of all."""
        if rows == len(self.labels):
            return ""
        has = f"trial {trial.number} has {len(fold_losses(trial))} of {self.folds.count} folds"
        return f"{has}, so these numbers are of {rows} of {len(self.labels)} photos"


def _build(study: optuna.Study, store: _Store, top_k: int) -> tuple[Ensemble | None, str]:
    """The ensemble, or None while no fold is finished; and why its numbers are of some photos alone, if they are."""
    complete = _distinct(study)
    if not complete:
        return _build_from_one(study, store, top_k)
    candidates = [store.candidate(trial, range(store.folds.count)) for trial in complete]
    alone = build_ensemble(candidates, store.labels, store.folds.assignment, top_k=top_k)
    stopped = _stopped(study, complete)
    if stopped is None:
        return alone, ""
    joined = _join(alone, candidates, stopped, store, top_k)
    return (joined, store.why_partial(stopped, joined.rows)) if joined else (alone, "")


def _distinct(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials, the best first; of equal recipes, which join once, the best."""
    by_recipe = {trial.user_attrs["recipe_id"]: trial for trial in reversed(complete_trials(study))}
    return list(by_recipe.values())[::-1]


def _build_from_one(study: optuna.Study, store: _Store, top_k: int) -> tuple[Ensemble | None, str]:
    """While no trial is complete: of the one with most finished folds, on the rows of those folds."""
    begun = [trial for trial in study.get_trials(deepcopy=False) if fold_losses(trial)]
    if not begun:
        return None, ""
    most = min(begun, key=lambda trial: (-len(fold_losses(trial)), trial.number))
    finished = sorted(fold_losses(most))
    rows = rows_of(store.folds, finished)
    candidates = [store.candidate(most, finished)]
    built = build_ensemble(candidates, store.labels[rows], store.folds.assignment[rows], top_k=top_k)
    return built, store.why_partial(most, built.rows)


def _stopped(study: optuna.Study, complete: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Of the trials that a stop cut off, the one to try: that with most finished folds, then with the best ones.

    A recipe that was taken up again and then ended for good, in whatever way, is none of them.
    """
    trials = study.get_trials(deepcopy=False)
    ended = {trial.user_attrs.get("recipe_id") for trial in trials if _ended_for_good(trial)}
    stopped = [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL and fold_losses(trial) and trial.user_attrs["recipe_id"] not in ended
    ]
    compared = [fold_losses(trial) for trial in complete]
    return min(
        stopped,
        key=lambda trial: (-len(fold_losses(trial)), expected_mean(fold_losses(trial), compared), trial.number),
        default=None,
    )


def _ended_for_good(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and not trial.user_attrs.get(INTERRUPTED)


def _join(
    alone: Ensemble, candidates: list[Candidate], stopped: FrozenTrial, store: _Store, top_k: int
) -> Ensemble | None:
    """The ensemble with the stopped trial where it pays. Afterwards the candidates have its rows alone."""
    finished = sorted(fold_losses(stopped))
    try:
        more = store.candidate(stopped, finished)
    except StoreError:  # the ensemble can do without it; the search trains that fold again when it goes on
        return None
    rows = rows_of(store.folds, finished)
    on_rows(candidates, rows)
    return join_stopped(alone, candidates, more, rows, store.labels, store.folds.assignment, top_k=top_k)


# ---- what is told ---------------------------------------------------------------------------------------------------


def _outcome(study: optuna.Study, name: str, built: Ensemble | None, submission: Path | None, partial: str) -> Outcome:
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(INTERRUPTED)]
    best = complete_trials(study)[:1]
    return Outcome(
        study=name,
        complete=sum(trial.state == TrialState.COMPLETE for trial in trials),
        pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
        failed=sum(trial.state == TrialState.FAIL for trial in trials),
        best_trial=best[0].number if best else None,
        best_log_loss=best[0].value if best else None,
        ensemble=built,
        submission=submission,
        partial=partial,
    )
