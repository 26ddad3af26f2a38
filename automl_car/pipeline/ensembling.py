"""From a study's finished folds to a calibrated ensemble and a submission; needs neither torch nor the plugins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState

from automl_car.config import Config
from automl_car.data.folds import read_folds
from automl_car.data.index import load_dataset
from automl_car.ensemble.build import build_ensemble
from automl_car.ensemble.candidates import read_candidate, rows_of
from automl_car.ensemble.submission import write_submission
from automl_car.errors import StoreError, StudyError
from automl_car.files import write_atomically
from automl_car.pipeline.outcome import Outcome, to_json
from automl_car.records import Candidate, Dataset, Ensemble, Folds, IntArray
from automl_car.search.overview import trials_csv
from automl_car.search.pruning import fold_losses
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
    loaded = load_study(study, storage_url(workspace.studies, study, config.search.storage))
    store = workspace.checkpoints(study)
    if not (store / "dataset.json").is_file():
        raise StudyError(f"`{store}` holds no trained folds of study `{study}`.", hint="run `automl-car search` first.")
    dataset, folds = data or _read_data(store)
    try:
        candidates, rows = _candidates(loaded, store, dataset, folds)
    except StoreError as error:
        raise StoreError(error.message, hint="run `automl-car search` again: it trains that fold once more.") from error
    built, submission = None, None
    if candidates:
        labels = np.asarray(dataset.labels, dtype=np.int64)[rows]
        built = build_ensemble(candidates, labels, folds.assignment[rows], top_k=top_k)
        directory = workspace.reports(study)
        directory.mkdir(parents=True, exist_ok=True)
        if dataset.submission is not None:
            submission = output or directory / "submission.csv"
            submission.parent.mkdir(parents=True, exist_ok=True)
            write_submission(submission, built.test_probabilities, dataset)
        write_atomically(directory / "ensemble.json", json.dumps(to_json(built), ensure_ascii=False, indent=1))
        write_atomically(directory / "trials.csv", trials_csv(loaded))
    return _outcome(loaded, study, built, submission)


def _read_data(store: Path) -> tuple[Dataset, Folds]:
    dataset = load_dataset(store / "dataset.json")
    return dataset, read_folds(store / "folds.csv", dataset, check_files=False)


def _candidates(study: optuna.Study, store: Path, dataset: Dataset, folds: Folds) -> tuple[list[Candidate], IntArray]:
    """Complete trials; or, while there is none, the trial with most finished folds, on the rows of those folds."""
    complete = complete_trials(study)
    if complete:
        finished = list(range(folds.count))
        by_recipe = {trial.user_attrs["recipe_id"]: trial for trial in reversed(complete)}  # equal recipes join once
        chosen = list(by_recipe.values())[::-1]
    else:
        partial = [trial for trial in study.get_trials(deepcopy=False) if fold_losses(trial)]
        chosen = sorted(partial, key=lambda trial: (-len(fold_losses(trial)), trial.number))[:1]
        finished = sorted(fold_losses(chosen[0])) if chosen else []
    candidates = [
        read_candidate(
            f"trial {trial.number}",
            trial.user_attrs["backbone"],
            store / trial.user_attrs["recipe_id"],
            finished,
            dataset,
        )
        for trial in chosen
    ]
    return candidates, rows_of(folds, finished)


def _outcome(study: optuna.Study, name: str, built: Ensemble | None, submission: Path | None) -> Outcome:
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
    )
