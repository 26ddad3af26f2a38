"""The loop of a search: trial after trial, until there are enough of them, or no time is left, or no more pay.

The driver never trains. It asks Optuna, hands fold tasks to an executor, and reads finished folds from the fold store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from automl_car.errors import StudyError
from automl_car.records import Recipe
from automl_car.search.evidence import FoldStore
from automl_car.search.job import Job, Outcome, View
from automl_car.search.judge import Judge
from automl_car.search.retrying import train
from automl_car.search.strikes import Strikes
from automl_car.search.study import FIXED, INTERRUPTED, close_interrupted, complete_trials, counted_trials
from automl_car.search.trial import Run, fold_task, run_trial, stored

MAX_EQUAL_FAILURES = 3
GATHERING_SHARE = 0.25  # of the time limit, in which trials wait for each other after their first fold


def run_search(
    job: Job,
    trials: int,
    first: tuple[dict[str, Any], ...],
    view: View,
    *,
    before_trial: Callable[[], str | None],
    after_complete: Callable[[], None],
) -> None:
    """Run trials until there are `trials` in the study or the time is up.

    Args:
        trials: in all, those of earlier runs included.
        first: parameters of the trials that come before any that the sampler chooses.
        before_trial: called before each trial; it may enqueue one, or say why the search ends here.
        after_complete: called after each complete trial.

    Raises:
        StudyError: three trials in a row failed for one reason that is nobody's plugin, or diverged or lacked memory
            where that cannot be their recipes' fault; or so many failed by plugins that nothing is left to search.
    """
    if queued := close_interrupted(job.study):
        view.note(f"going on with {queued} trial{'s' if queued > 1 else ''} that an earlier run left unfinished")
    job.record(job.study)
    _mend_complete_trials(job, view)
    judge = Judge(job.study, job.rule, FoldStore(job.directory, job.labels))
    ends, began = _Ends(after_complete, job.strikes, view), time.monotonic()
    paused: list[tuple[float, Run]] = []
    try:
        while counted_trials(job.study) + len(paused) < trials and not _time_is_up(job):
            job.strikes.require_something(job.space)
            _end_left_out(job)
            _enqueue_next(job.study, [params for params in first if not job.strikes.rule_out(params, job.space)])
            if end := before_trial():
                view.note(end)
                break
            run = run_trial(job, judge, view)
            expected = ends.advance(run)
            if expected is not None:
                paused.append((expected, run))
                if job.rule and len(paused) == 1 and _gathers(job, 1, began):
                    view.note(f"the first {job.rule.startup_trials} trials get one fold each before the best go on")
            if not _gathers(job, len(paused), began):
                _settle(paused, ends)
        _settle(paused, ends)
    finally:
        for _, run in paused:
            run.close()  # those are interrupted, and go on when the search does


def _enqueue_next(study: optuna.Study, first: Sequence[dict[str, Any]]) -> None:
    """Enqueue the next of the first trials, unless something waits already.

    One at a time: what an interrupted run has to go on with would have to wait behind all of them.
    """
    for params in first:
        if study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        study.enqueue_trial(params, skip_if_exists=True)


def _end_left_out(job: Job) -> None:
    """End the trials that wait next and are made of what is left out; another run of the command goes on with them."""
    while waiting := job.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if not job.strikes.rule_out(waiting[0].system_attrs.get(FIXED, {}), job.space):
            return
        trial = job.study.ask()
        trial.set_user_attr(INTERRUPTED, True)
        trial.set_user_attr("reason", "not started: it is made of what is left out of this search")
        job.study.tell(trial, state=TrialState.FAIL)


def _gathers(job: Job, paused: int, began: float) -> bool:
    """Whether trials wait after their first fold, as there are too few others to compare them with.

    One trial is trained to its end, so that there is a submission. Then each of the first trials gets its first fold,
    and only when all have one do the best go on: that saves the folds of those that seemed good for lack of better.
    With a time limit they do so after a part of it in any case: single folds are of little use.
    """
    if job.rule is None or not complete_trials(job.study):
        return False
    if job.deadline is not None and time.monotonic() - began > GATHERING_SHARE * (job.deadline - began):
        return False
    judged = job.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return len(judged) + paused < job.rule.startup_trials


def _settle(paused: list[tuple[float, Run]], ends: _Ends) -> None:
    """Train the other folds of those that wait, the most promising first. Without time left, tasks end at once."""
    paused.sort(key=lambda waiting: waiting[0])
    while paused:
        _, run = paused.pop(0)
        ends.advance(run)


class _Ends:
    """What follows from the end of a trial: a new submission, a strike, or the end of a search in which all fail."""

    def __init__(self, after_complete: Callable[[], None], strikes: Strikes, view: View) -> None:
        self._after_complete = after_complete
        self._strikes = strikes
        self._view = view
        self._failures: list[str] = []

    def advance(self, run: Run) -> float | None:
        """Let a trial go on to its pause, whose value is returned, or to its end."""
        try:
            return next(run)
        except StopIteration as stop:
            outcome: Outcome = stop.value
        if outcome.culprits:  # others may work
            for sentence in self._strikes.strike(outcome.culprits, outcome.reason):
                self._view.note(sentence)
            return None
        fails = outcome.cause or _is_bug(outcome)
        self._failures = [*self._failures, outcome.cause or outcome.reason] if fails else []
        last = self._failures[-MAX_EQUAL_FAILURES:]
        if len(last) == MAX_EQUAL_FAILURES and len(set(last)) == 1:
            cause = f"{outcome.cause}. The last one: " if outcome.cause else ""
            raise StudyError(
                f"{MAX_EQUAL_FAILURES} trials in a row failed for one reason: {cause}{outcome.reason}",
                hint="mend it and run the same command again; nothing that was trained is lost.",
            )
        if outcome.state == TrialState.COMPLETE:
            self._after_complete()
        return None


def _mend_complete_trials(job: Job, view: View) -> None:
    """Train again what is missing or damaged of complete trials: the ensemble needs every fold of theirs."""
    for trial in complete_trials(job.study):
        recipe = Recipe.from_json(trial.user_attrs["recipe"])
        for fold in range(job.folds.count):
            task = fold_task(job, recipe, trial.user_attrs["recipe_id"], fold)
            if stored(task, view) is not None or _time_is_up(job):
                continue
            lacks = f"trial {trial.number} is complete, but lacks fold {fold}"
            if not job.space.still_offers(recipe):
                view.note(f"{lacks}, and the plugin that it was trained with is not there any more, or was edited")
                continue
            view.note(f"{lacks}: it is trained again")
            train(job.executor, task, view)


def _time_is_up(job: Job) -> bool:
    return job.deadline is not None and time.monotonic() >= job.deadline


def _is_bug(outcome: Outcome) -> bool:
    return outcome.state == TrialState.FAIL and not outcome.interrupted
