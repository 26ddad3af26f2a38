"""Trials in flight, and the folds that are trained for them: each trial goes on as soon as its fold has landed.

Trials are coroutines (`trial.py`), and so are the attempts at a fold (`retrying.py`). One thread, the driver's, resumes
whichever has an answer; folds that have landed at once are looked at in the order in which they were submitted.

Idle slots take folds ahead of their turn. Such a fold is looked at when its trial comes to it: what the trial decides is
the same as without. Of a trial that ended before, nobody looks at it; it stays in the fold store and does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures

from automl_car.records import FoldResult, FoldTask
from automl_car.search.job import Job, Outcome, View
from automl_car.search.retrying import Attempts, attempts
from automl_car.search.trial import Run, Waiting, stored
from automl_car.unfinished import drop_checkpoint, drop_checkpoints

LOOK_SECONDS = 1.0  # after which somebody has to look whether there are more slots now
Key = tuple[str, int]  # recipe id and fold


class Flight:
    """The trials that have begun and not ended, and the folds that are trained.

    Args:
        ended: called with how a trial ended.
    """

    def __init__(self, job: Job, view: View, ended: Callable[[Outcome], None]) -> None:
        self._job = job
        self._view = view
        self._ended = ended
        self._trials: list[_Trial] = []  # in the order in which they began
        self._folds: dict[Key, _Fold] = {}  # in the order in which they were submitted
        self._stored: set[Key] = set()  # that need not be trained ahead of their turn

    # ---- how many ----

    @property
    def begun(self) -> int:
        """Trials in flight, those that wait to be told to go on among them."""
        return len(self._trials)

    @property
    def active(self) -> int:
        """Trials in flight that wait for a fold."""
        return sum(not trial.is_paused for trial in self._trials)

    @property
    def leads(self) -> bool:
        """Whether a trial that was told to go on is on its way to its end."""
        return any(trial.is_told and not trial.is_paused for trial in self._trials)

    @property
    def paused(self) -> list[_Trial]:
        """Trials that wait to be told to go on, the most promising first."""
        return sorted((trial for trial in self._trials if trial.is_paused), key=lambda trial: trial.expected)

    @property
    def has_room(self) -> bool:
        """Whether a slot is idle, and may have another trial."""
        return self._idle > 0 and self.active < trials_at_once(self._job)

    @property
    def _idle(self) -> int:
        return max(1, self._job.executor.slots()) - sum(not fold.has_landed for fold in self._folds.values())

    # ---- what the driver does ----

    def begin(self, run: Run) -> None:
        """Let a trial begin."""
        trial = _Trial(run, next(run))
        self._trials.append(trial)
        self._go_on(trial)

    def tell(self, trial: _Trial) -> None:
        """Tell a trial that waits for it to go on."""
        trial.is_told = True
        self._resume(trial, None)

    def fill(self) -> None:
        """Give idle slots the folds that trials ask for next if they go on: of each the next one, then those after it."""
        in_order = [*(trial for trial in self._trials if not trial.is_paused), *self.paused]
        for place in range(self._job.folds.count):
            for trial in in_order:
                if self._idle <= 0:
                    return
                for task in trial.waits.folds[place : place + 1]:
                    self._train_ahead(task)

    def wait(self) -> None:
        """Wait until a fold has landed, or for a moment, and let the trials go on that wait for it."""
        flying = [fold for fold in self._folds.values() if not fold.has_landed]
        futures.wait([fold.future for fold in flying], LOOK_SECONDS, futures.FIRST_COMPLETED)
        for fold in [fold for fold in flying if fold.future.done()]:
            self._land(fold)

    def close(self) -> None:
        """End all trials as interrupted; they go on when the search does."""
        for trial in self._trials:
            trial.run.close()

    # ---- folds ----

    def _train_ahead(self, task: FoldTask) -> None:
        key = _key(task)
        if key in self._folds or key in self._stored:
            return
        if stored(task, self._view) is not None:
            self._stored.add(key)
            return
        self._submit(task)

    def _submit(self, task: FoldTask) -> None:
        if task.trial is not None:
            self._view.fold_began(task.trial, task.fold)
        self._folds[_key(task)] = _Fold(task, attempts(self._job.executor, task, self._view))

    def _land(self, fold: _Fold) -> None:
        """Take up what an attempt at a fold came to."""
        if not self._is_wanted(fold):
            drop_checkpoint(fold.task.fold_directory)
            del self._folds[_key(fold.task)]
        elif fold.advance():
            for trial in [trial for trial in self._trials if trial.waits_for(fold)]:
                self._folds.pop(_key(fold.task), None)
                self._look_at(trial, fold)

    def _is_wanted(self, fold: _Fold) -> bool:
        return any(_key(task) == _key(fold.task) for trial in self._trials for task in trial.waits.folds)

    # ---- trials ----

    def _go_on(self, trial: _Trial) -> None:
        """Give a trial the fold that it waits for, if it is finished; else see that it is trained."""
        if trial.is_paused:
            return
        task = trial.waits.folds[0]
        fold = self._folds.get(_key(task))
        if fold is not None:
            if fold.has_landed:
                del self._folds[_key(task)]
                self._look_at(trial, fold)
        elif (result := stored(task, self._view)) is not None:
            self._view.fold_ended(trial.waits.number, result, stored=True)
            self._resume(trial, result)
        else:
            self._submit(task)

    def _look_at(self, trial: _Trial, fold: _Fold) -> None:
        if fold.result is not None:
            self._view.fold_ended(trial.waits.number, fold.result, stored=False)
        self._resume(trial, fold.result, fold.error)

    def _resume(self, trial: _Trial, result: FoldResult | None, error: Exception | None = None) -> None:
        try:
            trial.waits = trial.run.throw(error) if error is not None else trial.run.send(result)
        except StopIteration as stop:
            self._end(trial, stop.value)
        else:
            self._go_on(trial)

    def _end(self, trial: _Trial, outcome: Outcome) -> None:
        self._trials.remove(trial)
        landed = [key for key, fold in self._folds.items() if fold.has_landed and not self._is_wanted(fold)]
        for key in landed:
            del self._folds[key]
        if not outcome.interrupted:
            drop_checkpoints(trial.directory, but=[fold.task.fold_directory for fold in self._folds.values()])
        self._ended(outcome)


class _Trial:
    """A trial in flight."""

    def __init__(self, run: Run, waits: Waiting) -> None:
        self.run = run
        self.waits = waits
        self.is_told = False  # to go on after its first fold
        self.directory = waits.folds[0].fold_directory.parent  # of its recipe

    @property
    def is_paused(self) -> bool:
        """Whether it waits to be told to go on."""
        return self.waits.expected is not None

    @property
    def expected(self) -> float:
        """What it will probably be worth, while it waits."""
        assert self.waits.expected is not None
        return self.waits.expected

    def waits_for(self, fold: _Fold) -> bool:
        """Whether this is its next fold, now."""
        return not self.is_paused and _key(self.waits.folds[0]) == _key(fold.task)


class _Fold:
    """A fold on its way: its attempts, and in the end what came of them."""

    def __init__(self, task: FoldTask, trying: Attempts) -> None:
        self.task = task
        self.future = next(trying)
        self.result: FoldResult | None = None
        self.error: Exception | None = None
        self._trying = trying

    @property
    def has_landed(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.result is not None or self.error is not None

    def advance(self) -> bool:
        """Take up what the attempt came to, which is done; whether the fold has landed, or is tried once more."""
        try:
            self.future = next(self._trying)
        except StopIteration as stop:
            self.result = stop.value
        except Exception as error:
            self.error = error
        return self.has_landed


def trials_at_once(job: Job) -> int:
    """Trials that may wait for a fold at the same time: one a slot, or fewer where the settings say so."""
    slots = max(1, job.executor.slots())
    return min(slots, job.parallel_trials or slots)


def _key(task: FoldTask) -> Key:
    return task.recipe_id, task.fold
