"""A search that is stopped: by Ctrl-C, by a batch system, by a closed terminal (row 11 of the fault matrix)."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_scene import Scene, kill_group

# Fine-tuning that takes minutes, with loader processes.
SLOW_PLUGIN = """
import time
from automl_car import Backbone, hookimpl

def build(num_classes, *, pretrained=True):
    from torch import nn

    class Slow(nn.Module):
        def forward(self, images):
            time.sleep(0.1)
            return images

    return nn.Sequential(Slow(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))

@hookimpl
def register_backbones():
    return [Backbone("slow", build, image_size=16)]
"""
SLOW_SETTINGS = """
data: {folds: 2}
search: {study: main, trials: 2, tuning: full, backbones: [slow], augmentations: [none]}
training: {weights: random, epochs: 1000, batch_size: 8, head_multiplier: 1, step: plain, workers: 2}
plugins: {files: [slow.py]}
"""


@pytest.fixture
def slow(scene: Scene) -> Scene:
    """A search that would take minutes, with loader processes."""
    (scene.root / "slow.py").write_text(SLOW_PLUGIN)
    (scene.root / "automl-car.yaml").write_text(SLOW_SETTINGS)
    return scene


def _wait_for(scene: Scene, words: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while words not in scene.output and time.monotonic() < until:
        assert process.poll() is None, scene.output
        time.sleep(0.02)
    assert words in scene.output


def _stop(process: subprocess.Popen[bytes], number: int) -> float:
    """Send a signal and wait for the end; how long that took."""
    began = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise
    return time.monotonic() - began


def _group(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes that the command has left: each of them is in its session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == process.pid:
                found.append(int(entry.name))
    return found


def _assert_ended(scene: Scene, process: subprocess.Popen[bytes]) -> None:
    assert process.returncode == 130, scene.output
    assert scene.output.splitlines()[-1].startswith("stopped; what is finished is kept: run the same command again")
    assert "Traceback" not in scene.output
    until = time.monotonic() + 5
    while _group(process) and time.monotonic() < until:
        time.sleep(0.02)
    assert _group(process) == []
    assert scene.leftovers() == []


def test_a_stopped_search_keeps_what_is_finished_and_goes_on_to_the_same(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None]
) -> None:
    process = scene.start()
    scene.wait_for_folds(3, process)
    assert _stop(process, signal.SIGTERM) < 10
    _assert_ended(scene, process)
    assert scene.probabilities().shape == (5, 3)  # of the trial that was complete
    scene.look()
    assert scene.run() == 0, scene.output
    assert_as_undisturbed(scene)


@pytest.mark.slow
def test_a_search_stopped_while_it_trains_ends_with_its_loader_processes(slow: Scene) -> None:
    process = slow.start()
    _wait_for(slow, "epoch 1 of 1000", process)
    assert len(_group(process)) >= 4  # driver, training process, two loaders
    assert _stop(process, signal.SIGINT) < 10
    _assert_ended(slow, process)


@pytest.mark.slow
def test_a_second_signal_ends_all_processes_at_once(slow: Scene) -> None:
    process = slow.start()
    _wait_for(slow, "epoch 1 of 1000", process)
    (child,) = [number for number in _group(process) if _trains(number, process.pid)]
    os.kill(child, signal.SIGSTOP)  # it cannot tidy up, so the first signal alone takes seconds
    process.send_signal(signal.SIGTERM)
    time.sleep(0.6)
    assert _stop(process, signal.SIGTERM) < 1
    assert process.returncode == 130
    until = time.monotonic() + 5
    while _group(process) and time.monotonic() < until:
        time.sleep(0.02)
    assert _group(process) == []


def _trains(process: int, driver: int) -> bool:
    """Whether it is the driver's training process, and not Python's helper that keeps count of shared memory."""
    entry = Path(f"/proc/{process}")
    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parent == driver and b"spawn_main" in (entry / "cmdline").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_search_stopped_at_random_moments_comes_to_the_same(
    scene: Scene, assert_as_undisturbed: Callable[[Scene], None], number: signal.Signals
) -> None:
    moments = random.Random(int(number))
    for _ in range(4):
        process = scene.start()
        time.sleep(moments.uniform(1, 12))
        if process.poll() is None:
            assert _stop(process, number) < 10
            assert process.returncode in (0, 130), scene.output
            assert "Traceback" not in scene.output
        scene.look()
    assert scene.run() == 0, scene.output
    assert_as_undisturbed(scene)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_leaves_the_terminal_as_it_was(scene: Scene) -> None:
    screen, code = _in_terminal(scene, ["search"], lambda screen: "trial 1" in screen or "toy_large" in screen)
    assert code == 130
    assert "Traceback" not in screen
    assert "stopped; what is finished is kept" in screen
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l")  # the cursor is shown
    assert scene.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["dashboard", "--port", "18471"], ["search", "--plan"]], ids=lambda words: words[0]
)
def test_other_commands_end_without_a_traceback_too(searched: Scene, command: list[str]) -> None:
    screen, code = _in_terminal(
        searched, command, lambda screen: re.search("until Ctrl-C|measuring", screen) is not None
    )
    assert code == 130
    assert "Traceback" not in screen


def _in_terminal(scene: Scene, command: list[str], ready: Callable[[str], bool]) -> tuple[str, int]:
    """Run a command in a terminal of its own and press Ctrl-C when its screen is as it should; screen and exit code."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "automl_car", *command, "--workspace", str(scene.root)])
    screen, pressed, until = "", False, time.monotonic() + 90
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                screen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # how Linux tells that nobody has the terminal any more
                break
        if not pressed and ready(screen):
            time.sleep(0.3)
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    return screen, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
