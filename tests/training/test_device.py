"""Which device is chosen, and what a process reports about it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from automl_car.memory import give_back_memory
from automl_car.training import device as devices

CPU = torch.device("cpu")


def _machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda:0"), (True, False, "cuda:0"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_chosen(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str) -> None:
    _machine(monkeypatch, cuda=cuda, mps=mps)
    assert str(devices.pick_device()) == expected


def test_peak_memory_is_that_of_the_process_in_bytes() -> None:
    block = np.ones(30_000_000)  # 240 MB that were surely touched
    peak = devices.peak_memory_bytes(CPU)
    assert block.nbytes < peak


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a process's peak")
def test_a_new_measurement_forgets_what_was_freed_before() -> None:
    devices.reset_peak_memory(CPU)  # what other tests took may have been more
    before = devices.peak_memory_bytes(CPU)
    block = np.ones(60_000_000)  # 480 MB
    assert devices.peak_memory_bytes(CPU) > before
    del block
    give_back_memory()
    devices.reset_peak_memory(CPU)
    assert devices.peak_memory_bytes(CPU) < before + 240_000_000


def test_the_device_has_a_name() -> None:
    assert devices.device_name(CPU)


def test_beside_a_gpu_at_most_eight_threads_make_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert devices.helper_threads(torch.device("cuda", 0)) == 8
    assert devices.helper_threads(CPU) == torch.get_num_threads()


def test_preparing_a_cpu_sets_the_threads_that_are_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        devices.prepare(CPU, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_share_of_the_cores_is_all_that_a_process_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(devices, "_share", None)
    before = torch.get_num_threads()
    try:
        devices.take_share(4)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert devices.cores() == 4
    assert devices.helper_threads(torch.device("cuda", 0)) == 4
