"""What becomes of memory that was freed: glibc gives it back too early where it is needed again, and else too late.

And how much of it there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from pathlib import Path

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Let the allocator of glibc keep what it frees; returns whether there is one to tell.

    By default it gives every large block back to the kernel and asks for it again at the next layer, and the kernel
    then fills each page with zeros. Without that, training EfficientNet-Lite0 at 160 px was 2.1 times faster on 2
    cores (benchmarks/allocator.py).
    """
    if not _is_glibc():
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))


def give_back_memory() -> None:
    """Give what was freed back to the system: after a piece of work that needed much, and before a long one."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def available_memory() -> int:
    """Bytes that processes may still take without pushing others out, in a container too; 0 where it is unknown."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        return min(free, _left_of_container() or free)
    return 0


def _left_of_container() -> int:
    """Of the memory limit of the control group (Linux, version 2); 0 without one."""
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="ascii"))  # `max` is no number
        return max(1, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return 0


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
