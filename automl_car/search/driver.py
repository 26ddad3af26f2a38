"""The loop of a search: ask for a recipe, train its folds, report each one, tell how it ended.

The driver never trains. It asks Optuna, hands fold tasks to an executor, and reads finished folds from the fold store.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState

from automl_car.catalog.records import PluginSources
from automl_car.errors import AutomlCarError, DivergedError, OutOfMemoryError, StoreError, StudyError, WeightsError
from automl_car.records import FoldResult, Folds, FoldTask, Recipe, StepChoice
from automl_car.search.executor import Executor
from automl_car.search.notes import note_trial
from automl_car.search.pruning import FOLD_LOSSES, KthBestPruner
from automl_car.search.space import Space, suggest_recipe
from automl_car.search.study import (
    INTERRUPTED,
    OVERRIDES,
    close_interrupted,
    complete_trials,
    counted_trials,
    make_sampler,
    state_word,
)
from automl_car.store import read_result, set_aside

MAX_EQUAL_FAILURES = 3


class View(Protocol):
    """What a search tells the person in front of it."""

    def note(self, text: str) -> None:
        """Something that a person would tell."""

    def trial_began(self, number: int, recipe: Recipe) -> None:
        """A recipe was chosen."""

    def fold_began(self, number: int, fold: int) -> None:
        """A fold goes to the executor."""

    def fold_ended(self, number: int, result: FoldResult, *, stored: bool) -> None:
        """A fold is finished, now or (`stored`) in an earlier run."""

    def trial_ended(self, number: int, outcome: Outcome) -> None:
        """The trial was told to the study."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: its state, its log loss when complete, and why when not."""

    state: TrialState
    log_loss: float | None = None
    reason: str = ""
    interrupted: bool = False

    @property
    def word(self) -> str:
        """complete, pruned, failed or stopped."""
        return state_word(self.state, interrupted=self.interrupted)


@dataclass(frozen=True)
class Job:
    """What stays the same from trial to trial.

    Attributes:
        directory: checkpoints/<study>, the fold store.
        cache: folder of the image and feature caches.
        deadline: Unix time after which nothing is trained, or None.
        seed, startup_trials: of the sampler.
        workers: processes that load photos, or None.
        step: whether the fastest way to compute a step is measured, or the plain one is taken.
    """

    study: optuna.Study
    space: Space
    executor: Executor
    pruner: KthBestPruner | None
    folds: Folds
    directory: Path
    cache: Path
    plugins: PluginSources
    seed: int = 0
    startup_trials: int = 10
    deadline: float | None = None
    workers: int | None = None
    step: StepChoice = "auto"


def run_search(
    job: Job,
    trials: int,
    first: tuple[dict[str, Any], ...],
    view: View,
    *,
    before_trial: Callable[[], None],
    after_complete: Callable[[], None],
) -> None:
    """Run trials until there are `trials` in the study or the time is up.

    Args:
        trials: in all, those of earlier runs included.
        first: parameters of the trials that come before any that the sampler chooses.
        before_trial: called before each trial; it may enqueue one.
        after_complete: called after each complete trial.

    Raises:
        StudyError: three trials in a row failed for the same reason.
    """
    if queued := close_interrupted(job.study):
        view.note(f"going on with {queued} trial{'s' if queued > 1 else ''} that an earlier run left unfinished")
    for params in first:
        job.study.enqueue_trial(params, skip_if_exists=True)
    _mend_complete_trials(job, view)
    failures: list[str] = []
    while counted_trials(job.study) < trials and not _time_is_up(job):
        before_trial()
        outcome = _run_trial(job, view)
        failures = [*failures, outcome.reason] if _is_bug(outcome) else []
        if len(failures) >= MAX_EQUAL_FAILURES and len(set(failures[-MAX_EQUAL_FAILURES:])) == 1:
            raise StudyError(
                f"{MAX_EQUAL_FAILURES} trials in a row failed for one reason: {outcome.reason}",
                hint="mend it and run the same command again; nothing that was trained is lost.",
            )
        if outcome.state == TrialState.COMPLETE:
            after_complete()


def _mend_complete_trials(job: Job, view: View) -> None:
    """Train again what is missing or damaged of complete trials: the ensemble needs every fold of theirs."""
    for trial in complete_trials(job.study):
        recipe = Recipe.from_json(trial.user_attrs["recipe"])
        for fold in range(job.folds.count):
            task = _task(job, recipe, trial.user_attrs["recipe_id"], fold)
            if _stored(task, view) is None and not _time_is_up(job):
                view.note(f"trial {trial.number} is complete, but lacks fold {fold}: it is trained again")
                job.executor.submit(task).result()


def _time_is_up(job: Job) -> bool:
    return job.deadline is not None and time.time() >= job.deadline


def _is_bug(outcome: Outcome) -> bool:
    return outcome.state == TrialState.FAIL and not outcome.interrupted


# ---- one trial ------------------------------------------------------------------------------------------------------


def _run_trial(job: Job, view: View) -> Outcome:
    job.study.sampler = make_sampler(job.seed, counted_trials(job.study), job.startup_trials)
    trial = job.study.ask()
    # Until the trial is told, it counts as interrupted: a killed driver cannot say so afterwards.
    trial.set_user_attr(INTERRUPTED, True)
    recipe = suggest_recipe(trial, job.space, trial.user_attrs.get(OVERRIDES, {}))
    view.trial_began(trial.number, recipe)
    results: dict[int, FoldResult] = {}
    try:
        outcome = _train_folds(job, trial, recipe, results, view)
    except (DivergedError, OutOfMemoryError) as error:
        outcome = Outcome(TrialState.PRUNED, reason=error.message)  # TPE learns from it; from FAIL it would not
    except WeightsError as error:  # no recipe can mend it, so the search stops, and goes on when the weights are there
        _tell(job.study, trial, Outcome(TrialState.FAIL, reason=error.message, interrupted=True))
        raise
    except AutomlCarError as error:
        outcome = Outcome(TrialState.FAIL, reason=error.message)
        trial.set_user_attr("error", f"{error.message}\n{error.hint or ''}".strip())
    except BaseException:
        _tell(job.study, trial, Outcome(TrialState.FAIL, reason="the search was stopped", interrupted=True))
        raise
    note_trial(trial, recipe, outcome.word, outcome.reason, results)
    _tell(job.study, trial, outcome)
    view.trial_ended(trial.number, outcome)
    return outcome


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    if outcome.reason:
        trial.set_user_attr("reason", outcome.reason)
    trial.set_user_attr(INTERRUPTED, outcome.interrupted)
    study.tell(trial, values=outcome.log_loss, state=outcome.state)


def _train_folds(job: Job, trial: optuna.Trial, recipe: Recipe, results: dict[int, FoldResult], view: View) -> Outcome:
    """Train one fold after the other into `results`, until the last one or until the trial is pruned."""
    recipe_id = recipe.id(job.folds)
    for name, value in _attributes(recipe, recipe_id).items():
        trial.set_user_attr(name, value)
    for fold in range(job.folds.count):
        result = _fold(job, _task(job, recipe, recipe_id, fold), trial.number, view)
        if result.status == "stopped":
            return Outcome(TrialState.FAIL, reason=f"fold {fold} was not trained: {result.reason}", interrupted=True)
        results[fold] = result
        _store_folds(trial, results)
        trial.report(_mean(results), step=len(results) - 1)
        reason = _why_prune(job, trial)
        if reason:
            return Outcome(TrialState.PRUNED, reason=reason)
    return Outcome(TrialState.COMPLETE, log_loss=_mean(results))


def _why_prune(job: Job, trial: optuna.Trial) -> str | None:
    # A recipe that was settled beforehand is there for its different mistakes, not for its rank: a fine-tuned network
    # that is worse than every head alone can still help their pool.
    if job.pruner is None or trial.user_attrs.get(OVERRIDES):
        return None
    return job.pruner.explain(job.study, _frozen(job.study, trial))


def _fold(job: Job, task: FoldTask, number: int, view: View) -> FoldResult:
    """The fold's result from the store, or from the executor."""
    stored = _stored(task, view)
    if stored is None:
        view.fold_began(number, task.fold)
    result = stored or job.executor.submit(task).result()
    view.fold_ended(number, result, stored=stored is not None)
    return result


def _task(job: Job, recipe: Recipe, recipe_id: str, fold: int) -> FoldTask:
    return FoldTask(
        recipe,
        recipe_id,
        fold,
        job.directory,
        job.cache,
        job.plugins,
        deadline=job.deadline,
        workers=job.workers,
        step=job.step,
    )


def _stored(task: FoldTask, view: View) -> FoldResult | None:
    """The finished fold, or None; a damaged one is set aside."""
    try:
        return read_result(task.fold_directory)
    except StoreError as error:
        aside = set_aside(task.fold_directory)
        view.note(f"{error.message} The fold is trained again; what is left of it went to `{aside.name}`.")
        return None


def _attributes(recipe: Recipe, recipe_id: str) -> Mapping[str, Any]:
    """What the dashboard shows of a trial besides its parameters."""
    return {
        "recipe_id": recipe_id,
        "recipe": recipe.to_json(),
        "tuning": recipe.tuning,
        "backbone": recipe.backbone,
        "augmentation": recipe.augmentation,
        "image_size": recipe.image_size,
        "learning_rate": recipe.learning_rate,
    }


def _store_folds(trial: optuna.Trial, results: Mapping[int, FoldResult]) -> None:
    trial.set_user_attr(FOLD_LOSSES, {str(fold): result.log_loss for fold, result in results.items()})
    trial.set_user_attr("fold_epochs", {str(fold): len(result.curve) for fold, result in results.items()})
    trial.set_user_attr("seconds", round(sum(result.seconds for result in results.values()), 1))


def _mean(results: Mapping[int, FoldResult]) -> float:
    return statistics.fmean(result.log_loss for result in results.values())


def _frozen(study: optuna.Study, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    return next(frozen for frozen in reversed(study.get_trials(deepcopy=False)) if frozen.number == trial.number)
