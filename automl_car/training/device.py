"""Which device a process computes on, and what it reports about it."""

from __future__ import annotations

import ctypes
import platform
import sys

import torch

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def pick_device() -> torch.device:
    """The first CUDA device, else Apple's, else the CPU. An executor gives each process one GPU to see."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def prepare(device: torch.device, threads: int | None = None) -> None:
    """Settings of the whole process: memory and thread count on a CPU, TF32 and algorithm choice on a GPU."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def keep_freed_memory() -> bool:
    """Let the allocator of glibc keep what it frees; returns whether there is one to tell.

    By default it gives every large block back to the kernel and asks for it again at the next layer, and the kernel
    then fills each page with zeros. Without that, training EfficientNet-Lite0 at 160 px was 2.1 times faster on 2
    cores (benchmarks/allocator.py).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def autocast(device: torch.device) -> torch.autocast:
    """bf16 on CUDA. On a CPU it slows EfficientNets down to 0.7 of their speed, so float32 stays there."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of the GPU since `reset_peak_memory`, or of the process since it began; 0 where it is unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0  # Windows keeps no such number
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
