"""Which device a process computes on, and what it reports about it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

import torch

from automl_car.memory import keep_freed_memory


def pick_device() -> torch.device:
    """The first CUDA device, else Apple's, else the CPU. An executor gives each process one GPU to see."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The model of the GPU or of the processor, as far as the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no Linux, or a processor without a name
        return platform.processor() or platform.machine()


def prepare(device: torch.device, threads: int | None = None) -> None:
    """Settings of the whole process: memory and thread count on a CPU, TF32 and algorithm choice on a GPU."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


_share: int | None = None  # of the cores, where other processes compute on this machine, too


def take_share(threads: int) -> None:
    """Compute with so many threads from now on: the other cores are for the processes beside this one."""
    global _share
    if threads != _share:
        _share = threads
        torch.set_num_threads(threads)


def cores() -> int:
    """Cores of this machine that this process may use."""
    return _share or os.cpu_count() or 1


def helper_threads(device: torch.device) -> int:
    """Threads that make pictures beside the network: on a CPU as many as it computes with (see `ahead`)."""
    return torch.get_num_threads() if device.type == "cpu" else min(8, cores())


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of the GPU, or of the process, since `reset_peak_memory`; 0 where it is unknown.

    Where a process cannot begin a new measurement (it can on Linux), it is the peak since it began.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "linux":
        return _peak_of_process()
    if sys.platform == "win32":
        return 0  # Windows keeps no such number
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on a Mac


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM


def _peak_of_process() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
