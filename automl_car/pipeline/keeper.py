"""The submission while a search runs: the ensemble of the trials so far, as soon as there is one."""

from __future__ import annotations

import time

import optuna

from automl_car.config import Config
from automl_car.data.prepare import Prepared
from automl_car.memory import give_back_memory
from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.outcome import Outcome, describe
from automl_car.pipeline.tracking import Tracked
from automl_car.search.study import complete_trials
from automl_car.workspace import Workspace


class Keeper:
    """Keeps a valid submission on disk while the search runs, without spending more than a tenth of the time on it."""

    def __init__(self, workspace: Workspace, config: Config, study: str, prepared: Prepared, view: Tracked) -> None:
        self._workspace = workspace
        self._config = config
        self._study = study
        self._data = (prepared.dataset, prepared.folds)
        self._view = view
        self._next = 0.0
        self._seconds = 0.0  # that the last ensemble took

    def after_complete(self) -> None:
        """Build the ensemble of the trials so far; a better one replaces the submission."""
        if time.monotonic() < self._next:
            return
        outcome = self._build(thorough=False, only_better=True)
        give_back_memory()
        self._next = time.monotonic() + 10 * self._seconds
        if outcome.ensemble is not None:
            self._view.note(describe(outcome.ensemble, outcome.partial))

    def at_end(self, limit: float | None) -> Outcome:
        """Build the ensemble of all trials, which is the submission: an interrupted search comes to the same one.

        Args:
            limit: `time.monotonic()` at which the time limit is over; what there is no time for is left out.
        """
        thorough = limit is None or time.monotonic() + 3 * self._seconds < limit
        return self._build(thorough=thorough, only_better=False)

    def rescue(self, study: optuna.Study) -> None:
        """Leave a submission where there is none, though a trial is complete: the first ensemble was broken off."""
        submission = self._workspace.reports(self._study) / "submission.csv"
        if self._data[0].submission is not None and not submission.exists() and complete_trials(study):
            self._build(thorough=False, only_better=True)

    def _build(self, *, thorough: bool, only_better: bool) -> Outcome:
        began = time.monotonic()
        outcome = ensemble(
            self._workspace,
            self._config,
            study=self._study,
            output=None,
            top_k=self._config.ensemble.top_k,
            data=self._data,
            thorough=thorough,
            only_better=only_better,
        )
        self._seconds = time.monotonic() - began
        if outcome.ensemble is not None:
            self._view.ensemble_built(outcome.ensemble)
        return outcome
