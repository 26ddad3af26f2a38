"""SIGINT, SIGTERM and SIGHUP: the first ends a command in good order within ten seconds, the second at once.

The first one raises KeyboardInterrupt in the main thread, as Ctrl-C does. That takes effect between two lines of
Python; so a thread, which the system wakes even while the main thread computes in C, ends the process when it has not
ended by itself in time, or when a second signal comes.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_SECONDS = 10.0
# `timeout`, terminals that close and programs that start others send one signal twice within milliseconds.
_SAME_SECONDS = 0.4
INTERRUPTED = 130

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def orderly_ends() -> Iterator[None]:
    """Handle the signals until the block is left. After one of them the process ends there, with exit code 130.

    Python's own way to an end would wait for threads and processes, and a second signal would kill it on that way.
    """
    # What was ignored when the command began, as `nohup` does with SIGHUP, stays so.
    wanted = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    numbers = [number for number in wanted if signal.getsignal(number) != signal.SIG_IGN]
    guard = _Guard(numbers)
    before = {number: signal.signal(number, guard.first) for number in numbers}
    descriptor = signal.set_wakeup_fd(guard.writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        if guard.seen:
            _leave()
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        guard.dismiss()


class _Guard:
    """Waits for signals beside the main thread."""

    def __init__(self, numbers: list[int]) -> None:
        self.seen = False
        self._numbers = frozenset(numbers)
        self._reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)  # as `set_wakeup_fd` demands
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def first(self, number: int, frame: FrameType | None) -> None:
        """The handler: interrupts the main thread once; the clean-up that follows is not interrupted."""
        if not self.seen:
            self.seen = True
            raise KeyboardInterrupt

    def dismiss(self) -> None:
        """No signal came, and none matters any more."""
        self.writer.close()

    def _watch(self) -> None:
        with self._reader:
            if not self._wait(None):
                return
            time.sleep(_SAME_SECONDS)
            with suppress(BlockingIOError):
                self._reader.setblocking(False)
                self._reader.recv(64)
            self._wait(GRACE_SECONDS - _SAME_SECONDS)
        end_now()

    def _wait(self, seconds: float | None) -> bool:
        """Wait for one of the signals, which come as bytes; False when time is up or nobody sends any more."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            self._reader.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            try:
                received = self._reader.recv(1)
            except TimeoutError:
                return False
            if not received or received[0] in self._numbers:
                return bool(received)


def end_now() -> None:
    """End this process and its children without any clean-up but that of the terminal."""
    if sys.stderr.isatty():
        with suppress(OSError):
            os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # the live view hides the cursor
    _leave()


def _leave() -> None:
    processes = sys.modules.get("multiprocessing.process")
    for child in processes.active_children() if processes else ():
        child.kill()
    with suppress(OSError, ValueError):  # the terminal may be gone
        sys.stdout.flush()
    os._exit(INTERRUPTED)
