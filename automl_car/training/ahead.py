"""Makes the next items in background threads while the network works on the one before.

Cropping and resizing release Python's lock, and so do a network's passes: threads are enough to hide the one behind the
other, and cost no copy between processes. On a CPU both want the same cores. There the threads are given the lowest
priority, so that they fill the gaps that the network leaves, and have all cores when it waits for them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from automl_car.threads import threads_of_its_own

T = TypeVar("T")

_LOWEST = 19  # of the priorities of setpriority(2)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items in their order, one of them made in advance; what making them raises is raised here."""
    end: Any = object()
    with threads_of_its_own(1, "ahead", step_back) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item


def side_by_side(threads: int) -> AbstractContextManager[ThreadPoolExecutor]:
    """Threads that share the work on one item."""
    return threads_of_its_own(threads, "picture", step_back)


def for_each(pool: ThreadPoolExecutor, work: Callable[[int], None], count: int) -> None:
    """Call `work` with 0 … count - 1, in threads; what it raises is raised here."""
    for _ in pool.map(work, range(count)):
        pass


def step_back() -> None:
    """Give the calling thread the lowest priority, where a thread has one of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
