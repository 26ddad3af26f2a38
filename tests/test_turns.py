"""Turns at what several processes would compute at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from automl_car import turns
from automl_car.turns import one_at_a_time

HOLD = """
import sys, time
from pathlib import Path
from automl_car.turns import one_at_a_time
with one_at_a_time(Path(sys.argv[1]), lambda: None):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_others_wait_and_may_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.05)
    waited = []

    def impatient() -> None:
        waited.append(1)
        if len(waited) == 3:
            raise TimeoutError

    with one_at_a_time(tmp_path / "locks" / "a.lock", impatient):
        with pytest.raises(TimeoutError), one_at_a_time(tmp_path / "locks" / "a.lock", impatient):
            raise AssertionError("both have it")
        with one_at_a_time(tmp_path / "locks" / "b.lock", impatient):
            pass
    assert len(waited) == 3
    with one_at_a_time(tmp_path / "locks" / "a.lock", impatient):
        pass


def test_threads_of_one_process_take_turns_as_processes_do(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with one_at_a_time(tmp_path / "lock", lambda: None):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1]


def test_the_lock_of_a_process_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "mine\n"
    waited = []

    def kill_it() -> None:
        waited.append(1)
        holder.kill()
        holder.wait()

    with one_at_a_time(tmp_path / "lock", kill_it):
        pass
    assert len(waited) == 1
