"""What travels between a driver and its training process."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

from automl_car.fold_records import FoldTask, SpeedTask

ENDED = 128 + signal.SIGTERM  # exit code of a training process that was asked to end

Task = FoldTask | SpeedTask
Packed = tuple[Task, float | None]


def packed(task: Task) -> Packed:
    """A task with the seconds that are left for it in place of its deadline: two processes' clocks need not agree."""
    if isinstance(task, SpeedTask) or task.deadline is None:
        return task, None
    return replace(task, deadline=None), task.deadline - time.monotonic()


def unpacked(message: Packed) -> Task:
    """The task, with a deadline by the clock of the process that got it."""
    task, left = message
    if isinstance(task, SpeedTask) or left is None:
        return task
    return replace(task, deadline=time.monotonic() + left)
