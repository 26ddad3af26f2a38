"""Many processes on one study: readers beside a search, two searches, and locks (rows 8 and 9 of the fault matrix)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_scene import STUDY, Scene, kill_group

from automl_car.errors import StudyError
from automl_car.search.lock import only_one

# Reads the study again and again, as `studies show` does, until the search has ended; prints how often.
_READER = """
import sys, time
from pathlib import Path
from automl_car.search.overview import list_studies, show_study
folder, stop, done = Path(sys.argv[1]), Path(sys.argv[2]), 0
print("ready", flush=True)
while not stop.exists():
    for row in list_studies(folder, None):
        numbers = [trial.number for trial in show_study(folder, row.name, None).trials]
        assert len(numbers) == len(set(numbers)), numbers
        done += 1
    time.sleep(0.01)
print(done)
"""


def _read_beside_a_search(scene: Scene, readers: int) -> list[int]:
    """How often each of the readers has read the study while the search ran."""
    stop = scene.root / "stop"
    command = [sys.executable, "-c", _READER, str(scene.root / "studies"), str(stop)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(readers)
    ]
    try:
        for process in started:  # their imports take longer than a search of tiny photos
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        assert scene.run(timeout=900) == 0, scene.output
        time.sleep(1)
    finally:
        stop.touch()
        ended = [process.communicate(timeout=300) for process in started]
    for process, (_, errors) in zip(started, ended, strict=True):
        assert (process.returncode, errors) == (0, ""), errors
    stop.unlink()
    return [int(said) for said, _ in ended]


@pytest.mark.slow
@pytest.mark.parametrize("readers", [8, 32])
def test_many_readers_hinder_no_search_and_see_no_half_of_a_study(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None], readers: int
) -> None:
    assert sum(_read_beside_a_search(scene, readers)) > readers
    assert_as_undisturbed(scene)
    assert "locked" not in scene.output


# ---- locks ----------------------------------------------------------------------------------------------------------


def test_a_second_search_of_a_study_is_refused_at_once_and_the_first_goes_on(scene: Scene) -> None:
    first = scene.start()
    lock = scene.root / "studies" / f"{STUDY}.lock"
    try:
        while not (lock.exists() and _is_held(scene)):
            assert first.poll() is None, scene.output
            time.sleep(0.01)
        assert scene.run() == 2
        assert "Another search is running on study `main`" in scene.output
        assert first.poll() is None, scene.output
    finally:
        kill_group(first)
    with only_one(scene.root / "studies", STUDY):  # of a killed process nothing is left to wait for
        pass


def _is_held(scene: Scene) -> bool:
    try:
        with only_one(scene.root / "studies", STUDY):
            return False
    except StudyError:
        return True


@pytest.mark.parametrize("age", [-3600.0, 0.0, 3600.0, 1e8])
def test_a_lock_file_that_a_dead_process_left_holds_nobody_up_whatever_the_clock_says(
    tmp_path: Path, age: float
) -> None:
    stale = tmp_path / f"{STUDY}.lock"
    stale.write_text(json.dumps({"pid": os.getpid(), "host": "gone"}))  # its number may be another process's by now
    moment = time.time() - age
    os.utime(stale, (moment, moment))
    began = time.monotonic()
    with only_one(tmp_path, STUDY):
        assert time.monotonic() - began < 1


def test_a_lock_is_that_of_its_study_alone(tmp_path: Path) -> None:
    with only_one(tmp_path, STUDY), only_one(tmp_path, "other"), pytest.raises(StudyError, match="`main`"):
        only_one(tmp_path, STUDY)


def test_a_lock_is_held_however_old_its_file_is(tmp_path: Path) -> None:
    with only_one(tmp_path, STUDY):
        os.utime(tmp_path / f"{STUDY}.lock", (0, 0))
        with pytest.raises(StudyError):
            only_one(tmp_path, STUDY)
