"""One trial of a search: its folds, one after the other, until the last one or until it is not worth going on."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import TrialState

from automl_car.errors import AutomlCarError, DivergedError, MachineError, OutOfMemoryError, StoreError, WeightsError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import Recipe
from automl_car.search.evidence import FOLD_LOSSES
from automl_car.search.job import Job, Outcome, View
from automl_car.search.judge import Judge
from automl_car.search.leaving_out import LeavingOut
from automl_car.search.notes import note_trial
from automl_car.search.space import suggest_recipe
from automl_car.search.study import (
    DIVERGED,
    INTERRUPTED,
    MENDED,
    OVERRIDES,
    complete_trials,
    counted_trials,
    make_sampler,
)
from automl_car.store import read_result, set_aside


@dataclass(frozen=True)
class Waiting:
    """What a trial waits for: its next fold, or after the first one, once, to be told to go on.

    Attributes:
        number: of the trial.
        folds: that are still to come, in their order; the next one is the first.
        expected: what the trial will probably be worth, where it waits to be told; None where it waits for a fold.
    """

    number: int
    folds: tuple[FoldTask, ...]
    expected: float | None = None


Run = Generator[Waiting, FoldResult | None, Outcome]


def run_trial(job: Job, judge: Judge, view: View) -> Run:
    """Ask the study for a recipe, train its folds, and tell the study how it ended.

    It never waits by itself: it yields what it waits for, and is sent the result of the fold, or thrown its error.
    After the first fold it waits to be told to go on: which of several trials are worth their other folds is best seen
    when all of them have one. Closing the generator ends the trial as interrupted.
    """
    asked = _asked_trials(job.study)
    sampler = make_sampler(job.seed, asked, job.startup_trials)
    left_out = job.strikes.excluded(job.space)
    job.study.sampler = LeavingOut(sampler, left_out, asked) if any(left_out.values()) else sampler
    trial = job.study.ask()
    # Until the trial is told, it counts as interrupted: a killed driver cannot say so afterwards.
    trial.set_user_attr(INTERRUPTED, True)
    recipe = suggest_recipe(trial, job.space, trial.user_attrs.get(OVERRIDES, {}))
    view.trial_began(trial.number, recipe)
    results: dict[int, FoldResult] = {}
    began = time.monotonic()
    try:
        outcome = yield from _train_folds(job, judge, trial, recipe, results)
    except (DivergedError, OutOfMemoryError) as error:
        trial.set_user_attr(DIVERGED, True)
        _store_time(trial, began, results)
        # TPE learns from it; from FAIL it would not.
        outcome = Outcome(TrialState.PRUNED, reason=error.message, cause=_cause(job.study, recipe, error))
    except (WeightsError, MachineError) as error:  # a person has to mend it, and then the search goes on
        _tell_interrupted(job.study, trial, error.message)
        raise
    except AutomlCarError as error:
        culprits = job.strikes.culprits(error, recipe, job.study)
        outcome = Outcome(TrialState.FAIL, reason=job.strikes.explain(error, culprits), culprits=culprits)
        _store_time(trial, began, results)
        trial.set_user_attr("error", f"{error.message}\n{error.hint or ''}".strip())
    except BaseException:
        _tell_interrupted(job.study, trial, "the search was stopped")
        raise
    note_trial(trial, recipe, outcome.word, outcome.reason, results)
    _tell(job.study, trial, outcome)
    job.record(job.study)
    view.trial_ended(trial.number, outcome)
    return outcome


def _asked_trials(study: optuna.Study) -> int:
    """Trials before the next one: those that have ended for good, and those that wait for others."""
    return counted_trials(study) + len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def fold_order(recipe_id: str, folds: int) -> tuple[int, ...]:
    """The order in which a recipe's folds are trained: it begins with another fold for each recipe.

    Otherwise the search would be decided by the luck of fold 0, with which every pruned trial would end. The order
    depends on the recipe alone, so that a trial that was interrupted goes on where it was.
    """
    first = int(recipe_id, 16) % folds
    return tuple((first + step) % folds for step in range(folds))


def fold_task(job: Job, recipe: Recipe, recipe_id: str, fold: int, trial: int | None = None) -> FoldTask:
    """What an executor is given."""
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
        checkpoint_seconds=job.checkpoint_seconds,
        trial=trial,
    )


def stored(task: FoldTask, view: View) -> FoldResult | None:
    """The finished fold, or None; a damaged one is set aside."""
    try:
        return read_result(task.fold_directory)
    except StoreError as error:
        aside = set_aside(task.fold_directory)
        view.note(f"{error.message} The fold is trained again; what is left of it went to `{aside.name}`.")
        return None


# ---- the folds ------------------------------------------------------------------------------------------------------


def _train_folds(job: Job, judge: Judge, trial: optuna.Trial, recipe: Recipe, results: dict[int, FoldResult]) -> Run:
    """Train one fold after the other into `results`, until the last one or until the trial is pruned."""
    recipe_id = recipe.id(job.folds)
    for name, value in recipe_attributes(recipe, recipe_id).items():
        trial.set_user_attr(name, value)
    job.record(job.study)
    # A recipe that was settled beforehand is there for its different mistakes, not for its rank: a fine-tuned network
    # that is worse than every head alone can still help their pool.
    settled = bool(trial.user_attrs.get(OVERRIDES))
    order = fold_order(recipe_id, job.folds.count)
    tasks = [fold_task(job, recipe, recipe_id, fold, trial.number) for fold in order]
    if not settled:
        tasks[0] = replace(tasks[0], to_beat=judge.to_beat(recipe, order[0]))
    for done, fold in enumerate(order):
        result = yield Waiting(trial.number, tuple(tasks[done:]))
        assert result is not None  # it is sent after each fold
        if result.status == "stopped":
            return Outcome(TrialState.FAIL, reason=f"fold {fold} was not trained: {result.reason}", interrupted=True)
        if result.status == "beaten":
            # Without a value TPE would take the trial for worse than one that diverged.
            trial.report(judge.expected({fold: result.log_loss}), step=0)
            trial.set_user_attr("seconds", round(result.seconds, 1))
            return Outcome(TrialState.PRUNED, reason=f"fold {fold}: {result.reason}")
        if not math.isfinite(result.log_loss):  # of an executor or a version that let it through
            raise DivergedError(f"Fold {fold}: its log loss was {result.log_loss}.")
        results[fold] = result
        losses = {done: finished.log_loss for done, finished in results.items()}
        _store_folds(trial, losses, results.values())
        trial.report(judge.expected(losses), step=len(results) - 1)
        if len(results) == 1:
            yield Waiting(trial.number, tuple(tasks[1:]), expected=judge.expected(losses))
        if not settled and (reason := judge.why_prune(trial.number, recipe_id, losses)):
            return Outcome(TrialState.PRUNED, reason=reason)
    return Outcome(TrialState.COMPLETE, log_loss=statistics.fmean(losses.values()))


def _store_folds(trial: optuna.Trial, losses: Mapping[int, float], results: Iterable[FoldResult]) -> None:
    for name, value in fold_attributes(losses, list(results)).items():
        trial.set_user_attr(name, value)


def fold_attributes(losses: Mapping[int, float], finished: Sequence[FoldResult]) -> Mapping[str, Any]:
    """What a study keeps of a trial's finished folds."""
    mended = {str(result.fold): result.mended for result in finished if result.mended}
    return {
        FOLD_LOSSES: {str(fold): loss for fold, loss in losses.items()},
        "fold_epochs": {str(result.fold): len(result.curve) for result in finished},
        "seconds": round(sum(result.seconds for result in finished), 1),
        **({MENDED: mended} if mended else {}),
    }


def _cause(study: optuna.Study, recipe: Recipe, error: DivergedError | OutOfMemoryError) -> str:
    """What may be wrong with the data or the machine; empty where it is more likely to be the recipe's own fault."""
    complete = [trial.user_attrs["recipe"] for trial in complete_trials(study)]
    what = "too little memory" if isinstance(error, OutOfMemoryError) else "training diverges"
    if not complete:
        return f"{what}, and no trial is complete"
    names = ("backbone", "tuning", "image_size", "batch_size")
    own = recipe.to_json()
    fitted = any(all(other[name] == own[name] for name in names) for other in complete)
    return f"{what} where it sufficed before" if fitted and isinstance(error, OutOfMemoryError) else ""


def _store_time(trial: optuna.Trial, began: float, results: Mapping[int, FoldResult]) -> None:
    """What a trial took that ended within its first fold: it is no bargain because it failed."""
    if not results:
        trial.set_user_attr("seconds", round(time.monotonic() - began, 1))


def recipe_attributes(recipe: Recipe, recipe_id: str) -> Mapping[str, Any]:
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


def _tell_interrupted(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    with contextlib.suppress(MachineError):  # the next start ends a trial for which the disk had no room
        _tell(study, trial, Outcome(TrialState.FAIL, reason=reason, interrupted=True))


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    if outcome.reason:
        trial.set_user_attr("reason", outcome.reason)
    if outcome.culprits:
        trial.set_user_attr("failed_by", list(outcome.culprits))
    trial.set_user_attr(INTERRUPTED, outcome.interrupted)
    study.tell(trial, values=outcome.log_loss, state=outcome.state)
