"""Items in, results in the same order out, computed by threads that never run far ahead of who reads the results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from automl_car.threads import threads_of_its_own

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # results per thread that may wait; `Executor.map` would hold a future for each of 100,000 photos at once


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of each item, computed by threads.

    Args:
        function: what threads gain depends on it: they compute at the same time only while it does not hold the GIL.
        items: read as far as results are asked for, and a little further.
        workers: number of threads.

    Yields:
        The results in the order of the items.

    Example:
        >>> list(in_order(str.upper, ["a", "b", "c"], workers=2))
        ['A', 'B', 'C']
    """
    waiting: deque[Future[Result]] = deque()
    with threads_of_its_own(workers, "photos") as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def processors() -> int:
    """Processors that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
