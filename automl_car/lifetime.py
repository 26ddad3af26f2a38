"""Processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it is gone, even if it hangs; Linux only.

    Elsewhere a process has to watch its parent itself.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(1)


def watch_parent() -> None:
    """End this process of `multiprocessing` as soon as its parent has ended, on any system, while it lets threads run.

    A parent that was killed cannot say so: without it the process would work on for nobody.
    """
    threading.Thread(target=_end_after_parent, daemon=True).start()


def behave_as_child() -> None:
    """Leave SIGINT to the parent, and end with it, however that comes about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    watch_parent()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
