"""Loader processes where shared memory or open files are few (row 32 of the fault matrix)."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automl_car.fold_records import Machine
from automl_car.pipeline.loading import pick_workers

CPU, GPU = Machine("cpu", "CPU", 4), Machine("cuda", "a GPU", 64)
BATCH = 64 * 448**2 * 3  # bytes: 38.5 MB


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def view() -> Any:
    return Notes()


@pytest.fixture
def space() -> Any:
    sizes = {"small": (224,), "large": (320, 448)}
    return SimpleNamespace(tunings=("full", "head"), full_sizes=sizes, fixed={"batch_size": 64})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """10 GB of shared memory, and 4,096 open files."""
    has = SimpleNamespace(free=10_000_000_000, files=4096)
    monkeypatch.setattr("automl_car.pipeline.loading.SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=has.free))
    monkeypatch.setattr(resource, "getrlimit", lambda what: (min(256, has.files), has.files))
    return has


@pytest.mark.parametrize("wanted", [None, 0, 3])
def test_what_the_settings_say_stays_where_there_is_room(view: Any, space: Any, wanted: int | None) -> None:
    assert pick_workers(wanted, space, GPU, view) == wanted
    assert view.notes == []


@pytest.mark.parametrize("wanted", [None, 4])
def test_small_shared_memory_does_without_loader_processes(
    view: Any, space: Any, machine: SimpleNamespace, wanted: int | None
) -> None:
    machine.free = 64_000_000  # a container's
    assert pick_workers(wanted, space, GPU, view) == 0
    (note,) = view.notes
    assert "64.0 MB are free" in note
    # Each process makes two batches in advance, and two more are on their way.
    assert f"{(2 * (wanted or 16) + 2) * BATCH / 1e6:.1f} MB" in note


def test_few_open_files_do_without_loader_processes(view: Any, space: Any, machine: SimpleNamespace) -> None:
    machine.files = 256
    assert pick_workers(None, space, GPU, view) == 0
    (note,) = view.notes
    assert "`ulimit -Hn` allows 256" in note


def test_a_few_processes_are_possible_with_256_open_files(view: Any, space: Any, machine: SimpleNamespace) -> None:
    machine.files = 256
    assert pick_workers(4, space, GPU, view) == 4


@pytest.mark.parametrize("wanted", [None, 4])
def test_heads_have_no_loader_processes_to_warn_of(
    view: Any, space: Any, machine: SimpleNamespace, wanted: int | None
) -> None:
    machine.free, space.tunings = 1, ("head",)
    assert pick_workers(wanted, space, GPU, view) == wanted
    assert view.notes == []


def test_on_a_cpu_there_are_none_by_default(view: Any, space: Any, machine: SimpleNamespace) -> None:
    machine.free = 1
    assert pick_workers(None, space, CPU, view) is None
    assert view.notes == []


def test_the_loader_processes_of_folds_that_are_trained_side_by_side_count_together(
    view: Any, space: Any, machine: SimpleNamespace
) -> None:
    machine.free = 8 * (2 * 8 + 2) * BATCH - 1
    assert pick_workers(None, space, GPU, view, 8) == 0  # 64 cores are 8 processes for each of 8
    (note,) = view.notes
    assert note.startswith("photos are loaded without processes of their own: 64 of them need")
    machine.free += 1
    assert pick_workers(None, space, GPU, view, 8) is None
