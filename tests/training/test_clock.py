"""The deadline of a fold, whatever becomes of the time of day (rows 9 and 31 of the fault matrix)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from automl_car.fold_records import FoldTask
from automl_car.records import Recipe
from automl_car.search.wire import packed, unpacked
from automl_car.training.clock import Clock, OutOfTimeError


@pytest.mark.parametrize("jump", [-3600, 3600], ids=["back", "forward"])
def test_a_clock_that_is_set_ends_no_fold_and_prolongs_none(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    now = time.time()
    enough, none = Clock(time.monotonic() + 60), Clock(time.monotonic() - 1)
    monkeypatch.setattr(time, "time", lambda: now + jump)
    enough.check(0.5)
    with pytest.raises(OutOfTimeError, match="the time is up"):
        none.check(0.5)


def test_without_a_deadline_nothing_ends() -> None:
    Clock(None).check(0.0)


def test_what_cannot_be_done_in_time_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(time.monotonic() + 100)
    now = time.monotonic() + 30
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock.check(0.5)  # 30 s more, and 70 s are left
    with pytest.raises(OutOfTimeError, match="about 120 s more, and 70 s are left"):
        clock.check(0.2)


def test_a_task_arrives_with_the_time_that_was_left_when_it_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = FoldTask(Recipe("small"), "abc", 0, tmp_path, tmp_path, deadline=time.monotonic() + 50)
    sent = packed(task)
    monkeypatch.setattr(time, "monotonic", lambda: 1e6)  # the clock of another process, or machine
    arrived = unpacked(sent)
    assert isinstance(arrived, FoldTask)
    assert arrived.deadline == pytest.approx(1e6 + 50, abs=1)


def test_a_task_without_a_deadline_arrives_without_one(tmp_path: Path) -> None:
    task = FoldTask(Recipe("small"), "abc", 0, tmp_path, tmp_path)
    assert unpacked(packed(task)) == task
