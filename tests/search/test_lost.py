"""Errors of torch that speak of the machine (rows 12, 13, 30 and 32 of the fault matrix)."""

from __future__ import annotations

import errno

import pytest
import torch

from automl_car.errors import AutomlCarError, DeviceLostError, KilledError, OutOfMemoryError
from automl_car.records import Recipe
from automl_car.search.lost import as_lost

LOST = [
    (MemoryError(), OutOfMemoryError),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), OutOfMemoryError),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), OutOfMemoryError),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), OutOfMemoryError),
    (torch.AcceleratorError("CUDA error: out of memory"), OutOfMemoryError),
    (torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with ..."), DeviceLostError),
    (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), DeviceLostError),
    (RuntimeError("No CUDA GPUs are available"), DeviceLostError),
    (RuntimeError("CUDA error: no CUDA-capable device is detected"), DeviceLostError),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), DeviceLostError),
    (RuntimeError("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ..."), KilledError),
    (RuntimeError("DataLoader worker (pid(s) 12, 13) exited unexpectedly"), KilledError),
]


@pytest.mark.parametrize(("error", "kind"), LOST, ids=[str(error)[:30] for error, _ in LOST])
def test_what_the_machine_lacks_is_told_by_kind(error: Exception, kind: type[AutomlCarError]) -> None:
    assert type(as_lost(error, Recipe("small"))) is kind


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ..."),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("CUDA error in a name"),
    ],
)
def test_what_plugins_do_wrong_is_not_the_machines_fault(error: Exception) -> None:
    assert as_lost(error, Recipe("small")) is None


def test_the_processes_numbers_are_left_out_so_that_equal_causes_read_equal() -> None:
    lost = as_lost(RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), Recipe("small"))
    assert lost is not None
    assert lost.message == "A process that loads photos was killed."
