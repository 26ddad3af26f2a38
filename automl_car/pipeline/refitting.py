"""From an ensemble to the same one with its members trained once on all photos, and whether that pays."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_car.catalog.manager import load_catalog
from automl_car.config import Config
from automl_car.console import duration
from automl_car.ensemble.comparison import Comparison, compare
from automl_car.ensemble.fitting import pool_of, predict
from automl_car.ensemble.submission import write_submission
from automl_car.ensemble_records import Ensemble, Member
from automl_car.errors import StudyError
from automl_car.files import require_writable
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.pipeline.ensembling import ensemble
from automl_car.pipeline.executing import open_executor
from automl_car.pipeline.finished_folds import open_folds
from automl_car.pipeline.outcome import Outcome, View, outcome_json
from automl_car.records import FloatArray, IntArray
from automl_car.search.executor import Executor
from automl_car.search.lock import only_one
from automl_car.search.refit import refit_task
from automl_car.search.retrying import train
from automl_car.search.trial import stored
from automl_car.store import read_logits, read_recipe
from automl_car.workspace import Workspace


@dataclass(frozen=True)
class Refit:
    """What a refit leaves.

    Attributes:
        outcome: of the ensemble, with the submission that was written, if there is a test set.
        used: whether that is the refit's, and not that of the fold models.
        comparison: of the mean over fold models (usual) with the refit (new); None where nobody asked.
        fold: that played the test set in it.
    """

    outcome: Outcome
    used: bool
    comparison: Comparison | None = None
    fold: int | None = None


def refit(
    workspace: Workspace, config: Config, *, study: str, output: Path, comparing: bool, view: View, log: Path
) -> Refit:
    """Train the members of the study's ensemble once on all photos, and let them predict in place of the fold models.

    Weights, temperatures and calibration are those of the ensemble, fitted out of fold. What was trained before is
    read from the fold store.

    Args:
        output: the submission, if there is a test set.
        comparing: find out first whether that is better on photos that nobody trained on; where it is not, by more than
            a standard error, the submission stays that of the fold models.
        log: file for what training processes print.

    Raises:
        StudyError: there is no such study, no fold of it is finished, or too few are for a comparison.
    """
    workspace.studies.mkdir(parents=True, exist_ok=True)
    with only_one(workspace.studies, study):
        outcome = ensemble(workspace, config, study=study, output=None, top_k=config.ensemble.top_k)
        built = outcome.ensemble
        if built is None:
            raise StudyError(f"No fold of study `{study}` is finished.", hint="run `automl-car search` first.")
        finished = open_folds(workspace, study)
        dataset, folds, labels = finished.dataset, finished.folds, finished.labels
        for folder in (workspace.checkpoints(study), workspace.cache, output.parent):
            require_writable(folder)
        catalog = load_catalog(workspace.plugin_sources(config), announce=view.note)
        executor = open_executor(catalog, config, view, log)
        try:
            bench = _Bench(workspace, config, study, built, executor, view)
            held = bench.held_fold(folds.count) if comparing else None
            comparison = None if held is None else bench.compare(held, labels[folds.validation_rows(held)])
            used = comparison is None or comparison.pays
            probabilities = finished.with_answers(bench.refitted()) if used else built.test_probabilities
        finally:
            executor.close()
    if dataset.submission is None:
        return Refit(outcome, used, comparison, held)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_submission(output, probabilities, dataset)
    return Refit(replace(outcome, submission=output), used, comparison, held)


def refit_json(refit: Refit) -> dict[str, Any]:
    """What `refit --json` prints."""
    found = refit.comparison
    comparison = found and {
        "fold": refit.fold,
        "rows": found.rows,
        "fold_models": found.usual,
        "refit": found.new,
        "gain": found.gain,
        "standard_error": found.standard_error,
    }
    return {**outcome_json(refit.outcome), "refit": refit.used, "comparison": comparison}


@dataclass(frozen=True, eq=False)
class _Bench:
    """Trains the members of an ensemble, one after the other."""

    workspace: Workspace
    config: Config
    study: str
    built: Ensemble
    executor: Executor
    view: View

    def refitted(self) -> FloatArray:
        """Probabilities (T, C) of the test photos by members that were trained on all photos."""
        members = self.built.members
        seconds = sum(self._seconds(member) for member in members)
        self.view.note(f"training {len(members)} members on all photos, {_about(seconds)}")
        return self._pooled([self._refit(member, self._tasks(member)) for member in members])

    def held_fold(self, count: int) -> int:
        """The fold that plays the test set: of `count`, the first one that all members have."""
        if count < 3:
            raise StudyError(
                f"Study `{self.study}` has {count} folds: with one as test set, the other cannot be cross-validated.",
                hint="leave out --compare, or begin a study with 3 folds or more (`--folds`).",
            )
        for member in self.built.members:
            if len(member.folds) < 2:
                raise StudyError(
                    f"{member.name} has one finished fold, and a comparison takes two of each member.",
                    hint="run `automl-car search` again to finish more folds, or leave out --compare.",
                )
        return min(set.intersection(*(set(member.folds) for member in self.built.members)), default=0)

    def compare(self, held: int, labels: IntArray) -> Comparison:
        """Both ways to predict the rows of fold `held`, by members that never saw them; `labels` are of those rows."""
        members = self.built.members
        tasks = [self._tasks(member, held) for member in members]
        counts = [len(folds) + bool(folds[0].recipe.patience) for folds in tasks]
        seconds = sum(count * self._seconds(member) for member, count in zip(members, counts, strict=True))
        self.view.note(f"comparing on fold {held}: {sum(counts)} models that do without it, {_about(seconds)}")
        means, refits = [], []
        for member, folds in zip(members, tasks, strict=True):
            for task in folds:
                self._train(member, task)
            means.append(_mean_logits(folds, member))
            refits.append(self._refit_without(held, member, folds))
        return compare(self._pooled(means), self._pooled(refits), labels)

    def _tasks(self, member: Member, test_fold: int | None = None) -> list[FoldTask]:
        """The folds of a member, without the one that plays the test set."""
        directory = self.workspace.checkpoints(self.study)
        recipe = read_recipe(directory / member.recipe_id / f"fold-{member.folds[0]}")
        return [
            FoldTask(
                recipe,
                member.recipe_id,
                fold,
                directory,
                self.workspace.cache,
                self.workspace.plugin_sources(self.config),
                workers=self.config.training.workers,
                step=self.config.training.step,
                test_fold=test_fold,
                checkpoint_seconds=self.config.training.checkpoint_seconds,
            )
            for fold in member.folds
            if fold != test_fold
        ]

    def _refit_without(self, held: int, member: Member, folds: Sequence[FoldTask]) -> NDArray[np.float32]:
        """Logits of the rows of fold `held` by a member that was trained on all others."""
        own = replace(folds[0], fold=held, test_fold=None)
        if own.recipe.patience or held not in member.folds:
            return self._refit(member, folds)
        # Without early stopping, the model of that fold is this refit; with it, its epoch was chosen on those rows.
        return read_logits(own.fold_directory, views=member.views).oof

    def _refit(self, member: Member, folds: Sequence[FoldTask]) -> NDArray[np.float32]:
        """Logits (T, C) of a member that was trained on the rows of all these folds, which are finished."""
        task = refit_task(folds[0], [self._train(member, fold) for fold in folds])
        self._train(member, task)
        return _test_logits(task, member)

    def _train(self, member: Member, task: FoldTask) -> FoldResult:
        """The result from the fold store, or from the executor."""
        finished = stored(task, self.view)
        if finished is None:
            finished = train(self.executor, task, self.view)
            self.view.note(f"{member.name} {task.label}: {duration(finished.seconds)}")
        return finished

    def _seconds(self, member: Member) -> float:
        """What a fold of this member took."""
        results = [stored(task, self.view) for task in self._tasks(member)]
        return statistics.fmean(result.seconds for result in results if result)

    def _pooled(self, logits: Sequence[NDArray[np.float32]]) -> FloatArray:
        return predict(pool_of(self.built), logits)


def _mean_logits(folds: Sequence[FoldTask], member: Member) -> NDArray[np.float32]:
    mean = _test_logits(folds[0], member)
    for task in folds[1:]:
        mean += _test_logits(task, member)
    mean /= len(folds)
    return mean


def _test_logits(task: FoldTask, member: Member) -> NDArray[np.float32]:
    return read_logits(task.fold_directory, views=member.views).test


def _about(seconds: float) -> str:
    return f"about {duration(seconds)}"
