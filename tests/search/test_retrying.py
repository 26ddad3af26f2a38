"""The second attempt at a fold whose process was lost (rows 10, 12, 30 and 32 of the fault matrix)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl_car.errors import (
    AutomlCarError,
    DeviceLostError,
    DivergedError,
    ExecutorError,
    KilledError,
    MachineError,
    OutOfMemoryError,
    ProcessLostError,
)
from automl_car.fold_records import FoldResult, FoldTask
from automl_car.records import Recipe
from automl_car.search.retrying import train
from automl_car.store import FoldLogits, write_fold

Desk = Any  # see conftest.py
KILLED = KilledError("The training process was killed by SIGKILL.", hint="its last words are in `log`.")


@pytest.fixture
def task(tmp_path: Path) -> FoldTask:
    return FoldTask(Recipe("small"), "abc", 1, tmp_path, tmp_path, workers=4)


def _failing(*errors: AutomlCarError) -> Callable[[FoldTask], float]:
    """Raises one error after the other, then trains."""
    left = list(errors)

    def train(task: FoldTask) -> float:
        if left:
            raise left.pop(0)
        return 0.5

    return train


@pytest.mark.parametrize(
    "error", [KILLED, ProcessLostError("The training process hangs."), DeviceLostError("The GPU failed.")]
)
def test_a_fold_whose_process_was_lost_is_trained_again_without_loader_processes(
    desk: Desk, task: FoldTask, error: ProcessLostError
) -> None:
    desk.executor.train = _failing(error)
    assert train(desk.executor, task, desk.view).log_loss == 0.5
    assert [sent.workers for sent in desk.executor.submitted] == [4, 0]
    assert desk.view.notes == [f"{error.message} Fold 1 is trained again in a new one."]


def test_what_was_killed_twice_lacked_memory(desk: Desk, task: FoldTask) -> None:
    desk.executor.train = _failing(KILLED, KILLED, KILLED)
    with pytest.raises(OutOfMemoryError, match="memory of this machine does not suffice") as caught:
        train(desk.executor, task, desk.view)
    assert len(desk.executor.submitted) == 2
    assert caught.value.hint == KILLED.hint


def test_what_hangs_twice_is_told_with_its_cause_and_not_tried_again(desk: Desk, task: FoldTask) -> None:
    hang = "The training process gave no sign of life for 5 min and was ended."
    desk.executor.train = _failing(*(ProcessLostError(hang) for _ in range(3)))
    with pytest.raises(ProcessLostError) as caught:
        train(desk.executor, task, desk.view)
    assert caught.value.message == f"Twice: {hang}"
    assert len(desk.executor.submitted) == 2


@pytest.mark.parametrize("error", [DivergedError("nan"), ExecutorError("exit code 7"), MachineError("full")])
def test_what_is_no_accident_is_not_tried_again(desk: Desk, task: FoldTask, error: AutomlCarError) -> None:
    desk.executor.train = _failing(error)
    with pytest.raises(type(error)):
        train(desk.executor, task, desk.view)
    assert len(desk.executor.submitted) == 1


def test_a_fold_that_was_stored_before_its_process_was_lost_is_not_trained_again(desk: Desk, task: FoldTask) -> None:
    result = FoldResult("abc", 1, "finished", 0.4, 0.4, 1.0, (), 1.0)

    def store_and_die(task: FoldTask) -> float:
        write_fold(
            task, result, FoldLogits(np.arange(2), np.zeros((2, 2), np.float32), np.zeros((0, 2), np.float32)), b""
        )
        raise KILLED

    desk.executor.train = store_and_die
    assert train(desk.executor, task, desk.view) == result
    assert len(desk.executor.submitted) == 1


def test_a_trial_that_was_killed_twice_is_pruned_with_the_reason(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _failing(KILLED, KILLED)
    (trial,) = desk.go(1)
    assert trial.state.name == "PRUNED"
    assert "memory of this machine does not suffice" in trial.user_attrs["reason"]
    assert trial.user_attrs["diverged"]


def test_a_trial_whose_process_hung_once_is_like_any_other(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _failing(ProcessLostError("The training process hangs."))
    (trial,) = desk.go(1)
    assert trial.state.name == "COMPLETE"


def test_a_search_that_the_machine_stops_goes_on_with_the_same_trial(desk: Desk) -> None:
    desk.first, desk.executor.train = (), _failing(MachineError("`x` cannot be written: No space left on device."))
    with pytest.raises(MachineError):
        desk.go(1)
    (stopped,) = desk.study().get_trials()
    assert stopped.user_attrs["interrupted"]
    assert stopped.user_attrs["reason"] == "`x` cannot be written: No space left on device."
    *_, again = desk.go(1)
    assert again.params == stopped.params
    assert again.state.name == "COMPLETE"
