"""A search with several training processes: it comes to what one comes to, and survives what happens to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_scene import SETTINGS, Scene

pytestmark = pytest.mark.slow

# Sums of floats depend on the number of threads: every process has one, whether it is alone or not.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    os.environ.update(ONE_THREAD)


def _settle(scene: Scene, settings: str) -> None:
    text = SETTINGS.replace("search: {", f"search: {{{settings}, ")
    (scene.root / "automl-car.yaml").write_text(text)


def test_two_processes_with_one_trial_at_a_time_come_to_what_one_comes_to(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    _settle(scene, "parallel_trials: 1")
    assert scene.run("search", "--workers", "2") == 0, scene.output
    assert "2 folds are trained at a time" in scene.output
    assert_as_undisturbed(scene)


def test_two_processes_with_a_trial_each_come_to_the_same_trials_where_none_is_chosen_by_chance(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    assert scene.run("search", "--workers", "2") == 0, scene.output
    assert_as_undisturbed(scene)


def _children(process: int) -> list[int]:
    """Training processes of a search: of its children, those that were spawned for that."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    threads = [path.read_text(encoding="ascii") for path in Path(f"/proc/{process}/task").glob("*/children")]
    found = {int(child) for part in (text, *threads) for child in part.split()}
    return sorted(child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_a_killed_process_of_two_costs_its_fold_a_second_attempt(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start("search", "--workers", "2")
    until = time.monotonic() + 120
    while len(_children(process.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(_children(process.pid)[-1], signal.SIGKILL)
    assert process.wait(180) == 0, scene.output
    assert_as_undisturbed(scene)


def test_ctrl_c_ends_both_processes_and_the_same_command_goes_on(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start("search", "--workers", "2")
    scene.wait_for_folds(2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 130, scene.output
    assert scene.processes() == []
    scene.look()
    assert scene.run("search", "--workers", "2") == 0, scene.output
    assert_as_undisturbed(scene)
