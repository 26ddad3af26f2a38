"""What is in flight: a trial with what it waits for, and a fold with its attempts."""

from __future__ import annotations

from automl_car.fold_records import FoldResult, FoldTask
from automl_car.search.retrying import Attempts
from automl_car.search.trial import Run, Waiting

Key = tuple[str, int]  # recipe id and fold


class Trial:
    """A trial in flight."""

    def __init__(self, run: Run, waits: Waiting) -> None:
        self.run = run
        self.waits = waits
        self.is_told = False  # to go on after its first fold
        self.recipe_id = waits.folds[0].recipe_id
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

    def waits_for(self, fold: Fold) -> bool:
        """Whether this is its next fold, now."""
        return not self.is_paused and key_of(self.waits.folds[0]) == key_of(fold.task)


class Fold:
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


def key_of(task: FoldTask) -> Key:
    """Which fold a task is of, whichever trial wants it."""
    return task.recipe_id, task.fold
