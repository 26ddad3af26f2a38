"""Arrays that are written row by row and read through a memory map; what happens on a full disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_car.errors import MachineError
from automl_car.training.mapped import append_rows, spill, wait_for_disk, write_header

ROWS = np.arange(12, dtype=np.float16).reshape(4, 3)


def test_rows_added_one_after_the_other_are_an_array_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    write_header(path, (4, 3))
    append_rows(path, ROWS[:3])
    append_rows(path, ROWS[3:])
    wait_for_disk(path)
    loaded = np.load(path, mmap_mode="r")
    assert loaded.dtype == np.float16
    np.testing.assert_array_equal(loaded, ROWS)


def test_rows_that_lie_apart_in_memory_are_written_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    write_header(path, (3, 4))
    append_rows(path, ROWS.T)
    np.testing.assert_array_equal(np.load(path), ROWS.T)


def test_an_array_of_no_rows_can_be_mapped(tmp_path: Path) -> None:
    write_header(tmp_path / "empty.npy", (0, 3))
    assert np.load(tmp_path / "empty.npy", mmap_mode="r").shape == (0, 3)


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_spilled_rows_come_back_as_they_were(tmp_path: Path, kind: torch.dtype) -> None:
    rows = torch.randn(10, 3).to(kind)
    spilled = spill(tmp_path, rows.split(4))
    assert spilled.dtype == kind
    assert torch.equal(spilled, rows)


def test_a_spilled_tensor_may_be_changed(tmp_path: Path) -> None:
    spilled = spill(tmp_path, [torch.zeros(2, 3)])
    spilled[1] = 1.0
    assert spilled.sum() == 3


def test_spilling_leaves_no_file_even_before_the_tensor_is_gone(tmp_path: Path) -> None:
    seen = []

    def chunks() -> Iterator[Tensor]:
        yield torch.zeros(2, 3)
        seen.extend(tmp_path.iterdir())

    spilled = spill(tmp_path, chunks())
    assert seen == list(tmp_path.iterdir()) == []
    assert len(spilled) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told_with_the_folder() -> None:
    with pytest.raises(MachineError, match=r"cannot be written to .*dev: No space left on device"):
        append_rows(Path("/dev/full"), ROWS)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit for files")
def test_a_file_that_cannot_grow_is_told_and_does_not_kill_the_process(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(MachineError, match="cannot be written"):
            spill(tmp_path, torch.zeros(1000, 3).split(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
