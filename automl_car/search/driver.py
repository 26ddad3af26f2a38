"""The loop of a search: trials, until there are enough of them, or no time is left, or no more pay.

The driver never trains. It asks Optuna, hands fold tasks to an executor, and reads finished folds from the fold store.
Trials fill the executor's slots; how they wait for their folds and go on is in `flight.py`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState

from automl_car.errors import MachineError
from automl_car.records import Recipe
from automl_car.search.ends import Ends
from automl_car.search.evidence import FoldStore
from automl_car.search.flight import Flight
from automl_car.search.job import Job, View
from automl_car.search.judge import Judge
from automl_car.search.retrying import train
from automl_car.search.study import FIXED, INTERRUPTED, close_interrupted, complete_trials, counted_trials
from automl_car.search.trial import fold_task, run_trial, stored

RECORD_SECONDS = 1.0  # after which the ledger is written at the latest
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
    recorder = _Recorder(job)
    job = replace(job, record=recorder.mark)
    judge = Judge(job.study, job.rule, FoldStore(job.directory, job.labels))
    flight = Flight(job, view, Ends(after_complete, job.strikes, view).take)
    gathering, ended = _Gathering(job, flight, view), False
    try:
        while True:
            more = not ended and counted_trials(job.study) + flight.begun < trials and not _time_is_up(job)
            gathering.let_go(more=more)
            if more and flight.has_room and not gathering.is_full:
                ended = _ends_here(job, first, before_trial, view)
                if not ended:
                    flight.begin(run_trial(job, judge, view))
            elif flight.begun:
                if not _time_is_up(job):
                    flight.fill()
                if not flight.has_landed or recorder.is_late:
                    recorder.record()
                flight.wait()
            else:
                recorder.record()
                return
    finally:
        flight.close()
        with contextlib.suppress(MachineError):  # the next start writes what the ledger lacks
            recorder.record()


class _Recorder:
    """Writes the ledger before the driver waits, once for all trials that have begun or ended since it did."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._due: float | None = None  # since when there is something to write

    def mark(self, study: optuna.Study) -> None:
        if self._due is None:
            self._due = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether it has to be written, though there are landed folds to look at: a busy driver may never wait."""
        return self._due is not None and time.monotonic() - self._due > RECORD_SECONDS

    def record(self) -> None:
        """Write, if there is something to write."""
        if self._due is not None:
            self._due = None
            self._job.record(self._job.study)


# ---- before a trial -------------------------------------------------------------------------------------------------


def _ends_here(job: Job, first: Sequence[dict[str, Any]], before_trial: Callable[[], str | None], view: View) -> bool:
    """Settle what the next trial begins with; whether the search ends here instead, which is told."""
    job.strikes.require_something(job.space)
    _end_left_out(job)
    _enqueue_next(job.study, [params for params in first if not job.strikes.rule_out(params, job.space)])
    if end := before_trial():
        view.note(end)
    return bool(end)


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


# ---- after its first fold -------------------------------------------------------------------------------------------


class _Gathering:
    """Lets trials wait after their first fold, as long as there are too few others to compare them with.

    One trial is trained to its end, so that there is a submission. Then each of the first trials gets its first fold,
    and only when all have one do the best go on: that saves the folds of those that seemed good for lack of better.
    With a time limit they do so after a part of it in any case: single folds are of little use.
    """

    def __init__(self, job: Job, flight: Flight, view: View) -> None:
        self._job = job
        self._flight = flight
        self._view = view
        self._began = time.monotonic()
        self._settles = False  # whether all that wait go on, one after the other
        self._has_waiting = False

    @property
    def is_full(self) -> bool:
        """Whether trials wait for others that have begun, and for no further ones."""
        rule, begun = self._job.rule, self._flight.begun
        return rule is not None and self._has_waiting and _judged(self._job) + begun >= rule.startup_trials

    def let_go(self, *, more: bool) -> None:
        """Tell trials that have waited for long enough to go on, the most promising first, as far as there is room.

        Args:
            more: whether further trials may come.
        """
        holds = False
        while paused := self._flight.paused:
            holds = not self._may_go(len(paused), more)
            if holds or not self._flight.has_room:
                break
            self._flight.tell(paused[0])
        if holds and not self._has_waiting and self._job.rule and complete_trials(self._job.study):
            first = self._job.rule.startup_trials
            self._view.note(f"the first {first} trials get one fold each before the best go on")
        self._has_waiting = bool(paused)
        self._settles = self._settles and bool(paused)

    def _may_go(self, paused: int, more: bool) -> bool:
        """Whether the best of those that wait goes on; once all may, they do, without time left, too."""
        rule, study = self._job.rule, self._job.study
        if self._settles or rule is None or self._is_late:
            self._settles = True
        elif not complete_trials(study):
            return not self._flight.leads
        else:
            others = more or self._flight.active
            self._settles = not others or _judged(self._job) + paused >= rule.startup_trials
        return self._settles

    @property
    def _is_late(self) -> bool:
        """Whether the time in which trials wait is over."""
        deadline = self._job.deadline
        return deadline is not None and time.monotonic() - self._began > GATHERING_SHARE * (deadline - self._began)


def _judged(job: Job) -> int:
    return len(job.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


# ---- complete trials ------------------------------------------------------------------------------------------------


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
