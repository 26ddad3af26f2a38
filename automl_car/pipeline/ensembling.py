"""The journey of `automl-car ensemble`, which also ends a search: from finished folds to a submission."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from automl_car.catalog.manager import load_catalog
from automl_car.config import Config
from automl_car.ensemble.dry_run import dry_run
from automl_car.ensemble.submission import write_out_of_fold, write_submission
from automl_car.files import write_atomically
from automl_car.pipeline.finished_folds import open_folds
from automl_car.pipeline.keeping import Submission
from automl_car.pipeline.outcome import Outcome
from automl_car.pipeline.pooling import Pooled, pool
from automl_car.pipeline.weights_rule import require_allowed_study
from automl_car.records import Dataset, Folds
from automl_car.search.opening import read_study
from automl_car.search.overview import trials_csv
from automl_car.search.study import INTERRUPTED, complete_trials
from automl_car.workspace import Workspace


def ensemble(
    workspace: Workspace,
    config: Config,
    *,
    study: str,
    output: Path | None,
    top_k: int,
    data: tuple[Dataset, Folds] | None = None,
    thorough: bool = True,
    only_better: bool = True,
    freeze: bool | None = None,
    oof: Path | None = None,
) -> Outcome:
    """Pool and calibrate the study's trials, and write the submission.

    Args:
        output: a file to write the submission to, besides studies/<study>/submission.csv.
        top_k: members at most.
        data: of the study, where they are at hand; else they are read.
        thorough: whether to tell, too, what to expect of the test set, and what other choices would have come to; that
            takes twice as long.
        only_better: whether an ensemble that is worse than that of before leaves the submission as it is.
        freeze: True: keep this submission in studies/<study>, whatever comes; False: no longer; None: as it was.
        oof: a file for the out-of-fold predictions, formed like a submission; `labels.csv` beside it has the labels.

    Raises:
        StudyError: there is no such study, or a contest's rule keeps out the weights of its trials.
        StoreError: a fold that is needed is damaged.
    """
    if data is None and config.catalog.weights_before is not None:  # a search has made sure before it began
        require_allowed_study(workspace, config, study, load_catalog(workspace.plugin_sources(config)))
    loaded = read_study(workspace.studies, study, config.search.storage)
    finished = open_folds(workspace, study, data)
    pooled = pool(loaded, finished, top_k, thorough=thorough)
    if pooled is None:
        return _outcome(loaded, study)
    directory = workspace.reports(study)
    directory.mkdir(parents=True, exist_ok=True)
    kept = Submission(directory, finished.dataset, finished.folds)
    why = _keep(kept, pooled, freeze, only_better=only_better)
    write_atomically(directory / "trials.csv", trials_csv(loaded))
    rehearsal = None
    if thorough and finished.dataset.submission is not None:
        rehearsal = dry_run(pooled.ensemble.oof_probabilities, finished.dataset, pooled.rows)
    if oof is not None:
        write_out_of_fold(oof, pooled.ensemble.oof_probabilities, finished.dataset, pooled.rows)
    submission = None
    if finished.dataset.submission is not None:
        submission = output or directory / "submission.csv"
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_submission(output, pooled.ensemble.test_probabilities, finished.dataset)
    return replace(
        _outcome(loaded, study),
        ensemble=pooled.ensemble,
        partial=pooled.partial,
        submission=submission,
        rehearsal=rehearsal,
        kept=why,
    )


def _keep(kept: Submission, pooled: Pooled, freeze: bool | None, *, only_better: bool) -> str:
    """Keep the better one, or the new one, in the study's folder; why the old one stays, or nothing."""
    if freeze is not None:
        kept.unfreeze()
    if not freeze:
        return kept.update(pooled.ensemble, pooled.rows, only_better=only_better)
    kept.replace(pooled.ensemble, pooled.rows)
    kept.freeze(pooled.ensemble)
    return ""


def _outcome(study: optuna.Study, name: str) -> Outcome:
    """Of the study alone, before there is an ensemble."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(INTERRUPTED)]
    best = complete_trials(study)[:1]
    return Outcome(
        study=name,
        complete=sum(trial.state == TrialState.COMPLETE for trial in trials),
        pruned=sum(trial.state == TrialState.PRUNED for trial in trials),
        failed=sum(trial.state == TrialState.FAIL for trial in trials),
        best_trial=best[0].number if best else None,
        best_log_loss=best[0].value if best else None,
        ensemble=None,
        submission=None,
    )
