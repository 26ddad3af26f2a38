"""A fold, and a second attempt at it where the machine let the first one down."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from automl_car.errors import KilledError, OutOfMemoryError, ProcessLostError, StoreError
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.search.executor import Executor
from automl_car.store import read_result

Attempts = Generator[Future[FoldResult], None, FoldResult]


class Notes(Protocol):
    """What tells a person."""

    def note(self, text: str) -> None:
        """Something that a person would tell."""


def train(executor: Executor, task: FoldTask, view: Notes) -> FoldResult:
    """Train a fold, and wait for it; see `attempts`."""
    trying = attempts(executor, task, view)
    while True:
        try:
            next(trying)
        except StopIteration as stop:
            result: FoldResult = stop.value
            return result


def attempts(executor: Executor, task: FoldTask, view: Notes) -> Attempts:
    """Train a fold, once more if its process was lost: by a kill, a crash, a hang, or a GPU that failed.

    A process that ended by itself, with an exit code, was ended by code that it ran; that fold is not tried again.

    The second attempt has no loader processes, which take memory, shared memory and open files. What the first one
    had finished is not trained again, and what it would still say is not heard.

    Yields:
        The future of each attempt; it wants to be resumed when that is done, and else waits for it.

    Raises:
        OutOfMemoryError: both were killed, which the system does when memory runs out.
        ProcessLostError: the second one was lost, too.
        AutomlCarError: whatever else the executor's future raises.
    """
    first = executor.submit(task)
    yield first
    try:
        return first.result()
    except ProcessLostError as error:
        owner = "" if task.trial is None else f" of trial {task.trial}"
        view.note(f"{error.message} {task.label[0].upper()}{task.label[1:]}{owner} is trained again in a new one.")
    if (finished := _finished(task)) is not None:
        return finished
    second = executor.submit(replace(task, workers=0))
    yield second
    try:
        return second.result()
    except KilledError as error:
        raise OutOfMemoryError(
            "The memory of this machine does not suffice, or somebody ended the training process: it was killed twice.",
            hint=error.hint,
        ) from error
    except ProcessLostError as error:
        error.message = f"Twice: {error.message}"
        raise


def _finished(task: FoldTask) -> FoldResult | None:
    """The fold, if its process was lost after it had put it into the store."""
    try:
        return read_result(task.fold_directory)
    except StoreError:  # the new process writes it again, file by file
        return None
