"""Makes the next item in a background thread while the one before is used.

Decoding, cropping and resizing release Python's lock, and so do a network's passes: a thread is enough to hide the one
behind the other, and costs no copy between processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The items in their order, one of them made in advance; what making them raises is raised here."""
    end: Any = object()
    thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
