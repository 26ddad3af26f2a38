"""kill -9 of a search and all its processes (rows 1 and 2 of the fault matrix)."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Callable

import pytest
from fault_scene import Scene, kill_group


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
