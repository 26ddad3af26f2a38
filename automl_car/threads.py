"""Threads that work for a generator and end with it, whoever ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

_this_thread = threading.local()


@contextmanager
def threads_of_its_own(count: int, name: str, begin: Callable[[], None] | None = None) -> Iterator[ThreadPoolExecutor]:
    """Have so many threads until the block is left; work that has not begun by then is dropped.

    The block waits for the work that has begun, but for one case. A generator that nobody closes is closed by the
    garbage collector, in whichever thread that runs just then. One of these would wait for itself, or for a thread that
    waits for it, and the process could never end.

    Args:
        name: that the names of the threads begin with.
        begin: called by each of them first.
    """

    def initialise() -> None:
        _this_thread.serves = True
        if begin is not None:
            begin()

    pool = ThreadPoolExecutor(count, thread_name_prefix=name, initializer=initialise)
    try:
        yield pool
    finally:
        pool.shutdown(wait=not getattr(_this_thread, "serves", False), cancel_futures=True)
