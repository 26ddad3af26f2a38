"""Trials in flight, and the folds that are trained for them: each trial goes on as soon as its fold has landed.

Trials are coroutines (`trial.py`), and so are the attempts at a fold (`retrying.py`). One thread, the driver's, resumes
whichever has an answer; folds that have landed at once are looked at in the order in which they were submitted.

Idle slots take folds ahead of their turn. Such a fold is looked at when its trial comes to it: what the trial decides
is the same as without. Of a trial that ended before, nobody looks at it; it stays in the fold store and does no harm.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence

from automl_car.fold_records import FoldResult, FoldTask
from automl_car.search.flying import Fold, Key, Trial, key_of
from automl_car.search.job import Job, Outcome, View
from automl_car.search.landing import Landings
from automl_car.search.patient import flush
from automl_car.search.retrying import attempts
from automl_car.search.trial import Run, stored
from automl_car.unfinished import drop_checkpoint, drop_checkpoints

LOOK_SECONDS = 1.0  # after which somebody has to look whether there are more slots now


class Flight:
    """The trials that have begun and not ended, and the folds that are trained.

    Args:
        ended: called with how a trial ended.
    """

    def __init__(self, job: Job, view: View, ended: Callable[[Outcome], None]) -> None:
        self._job = job
        self._view = view
        self._ended = ended
        self._trials: dict[Trial, int] = {}  # and the place of each in the order in which they began
        self._of_recipe: dict[str, list[Trial]] = {}  # the same, by recipe id
        self._paused: list[Trial] = []  # those that wait to be told to go on, the most promising first
        self._lacking: set[Trial] = set()  # those that wait for a fold for which there was no slot
        self._folds: dict[Key, Fold] = {}  # that fly, or have landed ahead of their turn
        self._landings = Landings()
        self._stored: set[Key] = set()  # that need not be trained ahead of their turn
        self._places = itertools.count()

    # ---- how many ----

    @property
    def begun(self) -> int:
        """Trials in flight, those that wait to be told to go on among them."""
        return len(self._trials)

    @property
    def active(self) -> int:
        """Trials in flight that wait for a fold."""
        return len(self._trials) - len(self._paused)

    @property
    def leads(self) -> bool:
        """Whether a trial that was told to go on is on its way to its end."""
        return any(trial.is_told and not trial.is_paused for trial in self._trials)

    @property
    def paused(self) -> list[Trial]:
        """Trials that wait to be told to go on, the most promising first."""
        return list(self._paused)

    @property
    def has_room(self) -> bool:
        """Whether a slot is idle, and may have another trial."""
        return self._idle > 0 and self.active < trials_at_once(self._job)

    @property
    def has_landed(self) -> bool:
        """Whether a fold has landed at which nobody has looked yet."""
        return self._landings.has_landed

    @property
    def _idle(self) -> int:
        return max(1, self._job.executor.slots()) - len(self._landings)

    # ---- what the driver does ----

    def begin(self, run: Run) -> None:
        """Let a trial begin."""
        try:
            trial = Trial(run, next(run))
        except StopIteration as stop:
            self._ended(stop.value)
            return
        self._trials[trial] = next(self._places)
        self._of_recipe.setdefault(trial.recipe_id, []).append(trial)
        self._go_on(trial)

    def tell(self, trial: Trial) -> None:
        """Tell a trial that waits for it to go on."""
        trial.is_told = True
        self._resume(trial, None)

    def fill(self) -> None:
        """Give idle slots folds that trials ask for next if they go on: the next one of each, then those after it."""
        if self._idle <= 0:
            return
        in_order = [*(trial for trial in self._trials if not trial.is_paused), *self._paused]
        for place in range(self._job.folds.count):
            for trial in in_order:
                for task in trial.waits.folds[place : place + 1]:
                    self._train_ahead(task)
                if self._idle <= 0:
                    return

    def wait(self) -> None:
        """Wait until a fold has landed, or for a moment, and let the trials go on that wait for it."""
        for trial in sorted(self._lacking, key=self._trials.__getitem__):
            self._go_on(trial)  # there may be a slot for its fold now
        landed = self._landings.wait(LOOK_SECONDS)
        for fold in landed:
            self._land(fold)
        if not landed:
            flush(self._job.study)  # there is time, and people look at the study

    def close(self) -> None:
        """End all trials as interrupted; they go on when the search does."""
        for trial in self._trials:
            trial.run.close()

    # ---- folds ----

    def _train_ahead(self, task: FoldTask) -> None:
        key = key_of(task)
        if key in self._folds or key in self._stored:
            return
        if stored(task, self._view) is not None:
            self._stored.add(key)
            return
        self._submit(task)

    def _submit(self, task: FoldTask) -> None:
        if task.trial is not None:
            self._view.fold_began(task.trial, task.fold)
        self._folds[key_of(task)] = fold = Fold(task, attempts(self._job.executor, task, self._view))
        self._landings.watch(fold)

    def _land(self, fold: Fold) -> None:
        """Take up what an attempt at a fold came to."""
        if not self._is_wanted(fold):
            drop_checkpoint(fold.task.fold_directory)
            del self._folds[key_of(fold.task)]
        elif not fold.advance():
            self._landings.watch(fold)
        else:
            for trial in [trial for trial in self._having(fold) if trial.waits_for(fold)]:
                self._folds.pop(key_of(fold.task), None)
                self._look_at(trial, fold)

    def _is_wanted(self, fold: Fold) -> bool:
        return any(key_of(task) == key_of(fold.task) for trial in self._having(fold) for task in trial.waits.folds)

    def _having(self, fold: Fold) -> Sequence[Trial]:
        """Trials in flight with the recipe that a fold is of."""
        return self._of_recipe.get(fold.task.recipe_id, ())

    # ---- trials ----

    def _go_on(self, trial: Trial) -> None:
        """Give a trial the fold that it waits for, if it is finished; else have it trained, if there is a slot."""
        self._lacking.discard(trial)
        if trial.is_paused:
            bisect.insort(self._paused, trial, key=lambda one: (one.expected, self._trials[one]))
            return
        task = trial.waits.folds[0]
        fold = self._folds.get(key_of(task))
        if fold is not None:
            if fold.has_landed:
                del self._folds[key_of(task)]
                self._look_at(trial, fold)
        elif (result := stored(task, self._view)) is not None:
            self._view.fold_ended(trial.waits.number, result, stored=True)
            self._resume(trial, result)
        elif self._idle > 0:
            self._submit(task)
        else:
            self._lacking.add(trial)

    def _look_at(self, trial: Trial, fold: Fold) -> None:
        if fold.result is not None:
            self._view.fold_ended(trial.waits.number, fold.result, stored=False)
        self._resume(trial, fold.result, fold.error)

    def _resume(self, trial: Trial, result: FoldResult | None, error: Exception | None = None) -> None:
        if trial.is_paused:
            self._paused.remove(trial)
        try:
            trial.waits = trial.run.throw(error) if error is not None else trial.run.send(result)
        except StopIteration as stop:
            self._end(trial, stop.value)
        else:
            self._go_on(trial)

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        del self._trials[trial]
        (others := self._of_recipe[trial.recipe_id]).remove(trial)
        if not others:
            del self._of_recipe[trial.recipe_id]
        keys = [(trial.recipe_id, number) for number in range(self._job.folds.count)]
        for key in keys:
            if key in self._folds and self._folds[key].has_landed and not self._is_wanted(self._folds[key]):
                del self._folds[key]
        if not outcome.interrupted:
            kept = [self._folds[key].task.fold_directory for key in keys if key in self._folds]
            drop_checkpoints(trial.directory, but=kept)
        self._ended(outcome)


def trials_at_once(job: Job) -> int:
    """Trials that may wait for a fold at the same time: one a slot, or fewer where the settings say so."""
    slots = max(1, job.executor.slots())
    return min(slots, job.parallel_trials or slots)
