"""Processes that hang or are killed, clocks that jump, time limits (rows 9, 10, 12, 30 and 31 of the fault matrix)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fault_scene import SETTINGS, Scene

# Does something to the training process in its first attempts at a fold; what happens how often is in the environment.
# The toy plugin stays as it is, so that its recipes are those of the undisturbed search.
PLUGIN = r"""
import functools, multiprocessing, os, signal, time
from pathlib import Path
from automl_car import hookimpl
from automl_car.search import beats

WHAT, TIMES = os.environ.get("ACCIDENT", "nothing 0").split()
COUNTER = Path(__file__).with_name("accidents.txt")
if WHAT in ("stop", "hold"):
    beats.SILENT_SECONDS = 10.0  # in place of 5 min; a busy machine needs seconds to import torch
if WHAT == "wait":
    beats.STUCK_SECONDS = 20.0  # in place of an hour

def happen():
    with COUNTER.open("a") as file:
        file.write(".")
    if WHAT == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if WHAT == "hold":  # Python's lock
        import ctypes
        ctypes.PyDLL(None).sleep(600)
    if WHAT == "wait":
        time.sleep(600)
    if WHAT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if WHAT == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if WHAT == "gpu":
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    if WHAT == "memory":
        raise MemoryError

def seed(number, *, real):
    if len(COUNTER.read_text() if COUNTER.is_file() else "") < int(TIMES):
        happen()
    return real(number)

if multiprocessing.parent_process() is not None and int(TIMES):
    import torch

    torch.manual_seed = functools.partial(seed, real=torch.manual_seed)  # the first thing that a head's fold does

if WHAT == "jump":  # the clock is set forward and back by an hour, again and again
    real_time, began = time.time, time.monotonic()
    time.time = lambda: real_time() + (3600 if int(time.monotonic() - began) % 2 else -3600)

@hookimpl
def register_augmentations():
    return []
"""


@pytest.fixture
def unlucky(scene: Scene) -> Scene:
    """A workspace whose training processes have accidents."""
    (scene.root / "accidents.py").write_text(PLUGIN)
    (scene.root / "automl-car.yaml").write_text(SETTINGS.replace("toy_networks.py", "toy_networks.py, accidents.py"))
    return scene


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("stop", "gave no sign of life"),
        pytest.param("hold", "gave no sign of life", marks=SLOW),
        pytest.param("wait", "did not get a step further", marks=SLOW),
        pytest.param("kill", "was killed by SIGKILL", marks=SLOW),
        pytest.param("crash", "was killed by SIGSEGV", marks=SLOW),
        pytest.param("gpu", "The GPU failed: CUDA error: uncorrectable ECC error", marks=SLOW),
    ],
)
def test_one_accident_costs_a_fold_a_second_attempt_and_nothing_else(
    unlucky: Scene, assert_as_undisturbed: Callable[[Scene], None], what: str, words: str
) -> None:
    assert unlucky.run(environment={"ACCIDENT": f"{what} 1"}) == 0, unlucky.output
    (told,) = [line for line in unlucky.output.splitlines() if words in line]
    assert told.endswith("is trained again in a new one.")
    assert_as_undisturbed(unlucky)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "times", "word", "reason"),
    [
        ("stop", 2, "failed", "Twice: The training process gave no sign of life"),
        ("kill", 2, "pruned", "The memory of this machine does not suffice"),
        ("memory", 1, "pruned", "memory of"),
        ("crash", 2, "failed", "Twice: The training process was killed by SIGSEGV."),
        ("gpu", 2, "failed", "Twice: The GPU failed"),
    ],
)
def test_what_happens_again_ends_the_trial_with_its_cause_and_the_search_goes_on(
    unlucky: Scene, what: str, times: int, word: str, reason: str
) -> None:
    assert unlucky.run(environment={"ACCIDENT": f"{what} {times}"}) == 0, unlucky.output
    (line,) = [line for line in unlucky.output.splitlines() if line.startswith(f"trial 0 {word}: ")]
    assert reason in line
    assert unlucky.output.count(" complete: log loss") == 3
    assert unlucky.processes() == []


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(unlucky: Scene, assert_as_undisturbed: Callable[[Scene], None]) -> None:
    ran = unlucky.run("search", "--timeout", "10m", environment={"ACCIDENT": "jump 0"})
    assert ran == 0, unlucky.output
    assert_as_undisturbed(unlucky)


LONG_SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 1000, tuning: full, backbones: [toy], augmentations: [none]}
training: {weights: random, epochs: 2000, batch_size: 8, head_multiplier: 1, step: plain, patience: 0}
plugins: {files: [toy_networks.py]}
"""


@pytest.mark.slow
def test_a_time_limit_that_no_trial_fits_into_is_kept(scene: Scene) -> None:
    (scene.root / "automl-car.yaml").write_text(LONG_SETTINGS)
    began = time.monotonic()
    code = scene.run("search", "--timeout", "40s")
    assert time.monotonic() - began < 40 + 30  # what starting Python takes is in it
    assert code in (0, 2)
    assert "Traceback" not in scene.output


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["10s", "1s"])
def test_a_time_limit_that_is_too_short_for_anything_is_told(scene: Scene, limit: str) -> None:
    (scene.root / "automl-car.yaml").write_text(LONG_SETTINGS)
    began = time.monotonic()
    assert scene.run("search", "--timeout", limit) in (0, 2), scene.output
    assert time.monotonic() - began < 40
    assert "Traceback" not in scene.output
    if "error: " in scene.output:
        assert f"within the time limit of {limit[:-1]} s, so there is no submission yet" in scene.output
