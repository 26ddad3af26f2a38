"""kill -9 of a search: of its training process, of the driver, or of all (rows 1 and 2 of the fault matrix)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_scene import Scene, kill_group

KILLS = 50  # for each of four seeds
PHASES = ("preparing", "choosing", "training", "storing", "telling", "ensembling")


def test_a_search_killed_with_all_its_processes_loses_nothing_but_the_fold_in_flight(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start()
    scene.wait_for_folds(3, process)
    kill_group(process)
    scene.look()
    assert scene.run() == 0, scene.output
    assert_as_undisturbed(scene)


@pytest.mark.slow
def test_a_driver_killed_alone_takes_its_training_process_with_it_and_loses_nothing(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start()
    scene.wait_for_folds(5, process)
    process.kill()
    process.wait()
    assert scene.run() == 0, scene.output  # at once, whether or not the training process has noticed
    assert_as_undisturbed(scene)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_search_killed_at_random_moments_comes_to_the_same(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None], seed: int
) -> None:
    moments = random.Random(seed)
    for _ in range(3):
        process = scene.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moments.uniform(0.5, 12))
        kill_group(process)
        scene.look()
    assert scene.run() == 0, scene.output
    assert_as_undisturbed(scene)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_kills_at_random_moments_change_nothing(
    make_scene: Callable[[], Scene],
    assert_as_undisturbed: Callable[[Scene], None],
    capsys: pytest.CaptureFixture[str],
    seed: int,
) -> None:
    moments, length = random.Random(seed), _seconds_after_the_first_word(make_scene())
    phases: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    searches = 0
    while phases.total() < KILLS:
        scene, searches = make_scene(), searches + 1
        while phases.total() < KILLS:
            process = scene.start()
            target = moments.choice(("child", "driver", "group"))
            phase = _killed_in(scene, process, target, moments.uniform(0, length))
            scene.look()
            if phase is None:  # the search came to its end first
                assert process.returncode == 0, scene.output
                break
            phases[phase] += 1
            targets[target] += 1
        assert scene.run() == 0, scene.output
        assert_as_undisturbed(scene)
    with capsys.disabled():
        print(f"\n{phases.total()} kills in {searches} searches; {_told(targets)}; while {_told(phases)}")


def _seconds_after_the_first_word(scene: Scene) -> float:
    """How long a search takes that nothing happens to, without the imports at its beginning."""
    process = scene.start()
    _wait_until(lambda: bool(scene.output), process)
    began = time.monotonic()
    assert process.wait(timeout=300) == 0, scene.output
    return time.monotonic() - began


def _killed_in(scene: Scene, process: subprocess.Popen[bytes], target: str, seconds: float) -> str | None:
    """Kill so many seconds after the process said its first word; in which phase that was.

    None where the search had ended before. In the seconds before its first word a process only imports.
    """
    before = len(scene.output)
    _wait_until(lambda: len(scene.output) > before, process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    phase = _phase(scene, before)
    if process.poll() is not None:
        return None
    if target == "child":
        children = _training_processes(process.pid)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.wait(timeout=180)  # the search goes on by itself
        return phase if children else None
    if target == "driver":
        process.kill()
        process.wait()
    else:
        kill_group(process)
    return phase


def _wait_until(happens: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not happens() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def _phase(scene: Scene, before: int) -> str:
    """What the search was doing, as far as its files and its last words tell."""
    words = scene.output[before:].strip().splitlines()
    last = words[-1] if words else ""
    if any(path.suffix == ".tmp" for path in scene.store.glob("*/fold-*/.*")):
        return "storing"
    if not any(line.startswith(("study ", "trial ", "  trial ")) for line in words):
        return "preparing"
    if last.startswith("trial ") and " complete" in last:
        return "ensembling"  # a submission is built after each complete trial
    if " fold " in last and "log loss" in last:
        return "telling" if "epoch" not in last else "training"
    return "training" if last.startswith("trial ") else "choosing"


def _training_processes(driver: int) -> list[int]:
    """The driver's own children that are training processes, by what they were started with (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == driver and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.most_common())
