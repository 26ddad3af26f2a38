"""Takes turns: what several processes would compute at once is computed by one, and the others wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOOK_SECONDS = 1.0


@contextmanager
def one_at_a_time(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock until the block is left. The system keeps it, not the file: that of a dead process blocks nobody.

    Args:
        path: of the lock; its folder is made, and the file stays.
        waiting: called every second while another process holds it; what it raises ends the waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=LOOK_SECONDS)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()
