"""A disk that is full for a moment, at each place where a search writes (row 6 of the fault matrix).

`kinds_of_writes.txt` lists the kinds of writes that a search does: one of each is tried by `pytest -m slow`, and every
single one, some hundreds, by `pytest -m long`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from disk_faults import QUIET, counted_kinds, fail_once, make_faulty
from fault_scene import Scene

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the path of a file descriptor in /proc")

KINDS = Path(__file__).with_name("kinds_of_writes.txt").read_text(encoding="utf-8").splitlines()
QUICK = "fsync record.json@store.py:write_fold"


@pytest.fixture
def faulty(scene: Scene) -> Scene:
    """A workspace whose writes can be made to fail."""
    return make_faulty(scene)


def _go_through(scene: Scene, fault: str, assert_as_undisturbed: Callable[[Scene], None]) -> str:
    """A search in which one write fails, and the same command again; the kind of the write, empty where there is none.

    Where nobody was told, nothing may be missing after the first of them.
    """
    kind = fail_once(scene, fault)
    if kind in QUIET:
        assert_as_undisturbed(scene)
    if kind:
        assert scene.run() == 0, scene.output
        assert_as_undisturbed(scene)
    return kind


def _not_in_every_run(kind: str) -> object:
    return kind if kind == QUICK else pytest.param(kind, marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", [_not_in_every_run(kind) for kind in KINDS])
def test_a_search_whose_disk_is_full_says_so_and_goes_on_to_the_same(
    faulty: Scene, assert_as_undisturbed: Callable[[Scene], None], kind: str
) -> None:
    assert _go_through(faulty, f"{kind} 1", assert_as_undisturbed) == kind


@pytest.mark.slow
def test_the_kinds_of_writes_are_those_of_a_search(faulty: Scene) -> None:
    assert _writes_of_a_search(faulty) > 400
    assert list(dict.fromkeys(counted_kinds(faulty))) == KINDS


def test_each_kind_that_fails_quietly_is_there() -> None:
    assert set(QUIET) <= set(KINDS)


@pytest.mark.long
def test_each_write_of_a_search_may_fail_once(
    make_scene: Callable[[], Scene], assert_as_undisturbed: Callable[[Scene], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def try_one(number: int) -> tuple[str, str]:
        """The kind of one write, empty where a search does not come to so many, and what was wrong."""
        scene = make_faulty(make_scene())
        try:
            kind, wrong = _go_through(scene, f"any - {number}", assert_as_undisturbed), ""
        except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:  # the others are tried all the same
            kind = next(iter(counted_kinds(scene)[number - 1 : number]), "none")
            wrong = f"write {number}, {kind}: {error}"
        shutil.rmtree(scene.root)
        return kind, wrong

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tried = list(pool.map(try_one, range(1, _writes_of_a_search(make_scene()) + 1)))
    kinds = Counter(kind for kind, _ in tried if kind)
    wrong = [text for _, text in tried if text]
    harmless = sum(kinds[kind] for kind in QUIET)
    told = kinds.total() - harmless - len(wrong)
    with capsys.disabled():
        print(
            f"\nof {kinds.total()} writes, each failing once, {told} were told, {harmless} harmless, {len(wrong)} wrong"
        )
    assert not wrong, "\n\n".join(wrong)
    assert kinds.total() > 400
    assert set(kinds) <= set(KINDS)


def _writes_of_a_search(scene: Scene) -> int:
    make_faulty(scene)
    assert scene.run(environment={"DISK_FAULT": "any - 0"}) == 0, scene.output
    return len(counted_kinds(scene))
