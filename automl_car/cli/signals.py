"""SIGINT, SIGTERM and SIGHUP: the first ends a command in good order within ten seconds, the second at once.

The first one raises KeyboardInterrupt in the main thread, as Ctrl-C does. That takes effect between two lines of
Python; so a thread, which the system wakes even while the main thread computes in C, ends the process when it has not
ended by itself in time, or when a second signal comes.

Python drops what is raised in a weak reference's callback or in a `__del__`, such as SQLAlchemy has for each row that
it forgets. What is lost there is raised again.
"""

from __future__ import annotations

import logging
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
_AGAIN_SECONDS = 0.01  # for the main thread to leave the place where nothing can be raised
INTERRUPTED = 130

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_LOST = 0  # the number of no signal: the exception for one went nowhere


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
    unraisable, sys.unraisablehook = sys.unraisablehook, guard.unraisable
    with _no_traceback_of_interrupts():
        try:
            yield
        finally:
            if guard.seen:
                _leave()
            sys.unraisablehook = unraisable
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            guard.dismiss()


@contextmanager
def _no_traceback_of_interrupts() -> Iterator[None]:
    """Whoever logs an interruption and passes it on, as SQLAlchemy's pool does, must not print it as an error."""
    stderr = logging.lastResort  # has what is logged where nobody has asked for a log
    if stderr is None:
        yield
        return
    stderr.addFilter(_is_no_interrupt)
    try:
        yield
    finally:
        stderr.removeFilter(_is_no_interrupt)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt))


class _Guard:
    """Waits for signals beside the main thread."""

    def __init__(self, numbers: list[int]) -> None:
        self.seen = False  # whether a signal has come
        self._raised = False  # whether the main thread was interrupted for it
        self._numbers = frozenset(numbers)
        self._reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)  # as `set_wakeup_fd` demands
        self._print = sys.unraisablehook
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def first(self, number: int, frame: FrameType | None) -> None:
        """The handler: interrupts the main thread once; the clean-up that follows is not interrupted."""
        self.seen = True
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def unraisable(self, lost: sys.UnraisableHookArgs) -> None:
        """The hook for what is raised where nothing can be raised."""
        if self._raised and issubclass(lost.exc_type, KeyboardInterrupt):
            with suppress(OSError):
                self.writer.send(bytes([_LOST]))
        else:
            self._print(lost)

    def dismiss(self) -> None:
        """No signal came, and none matters any more."""
        self.writer.close()

    def _watch(self) -> None:
        with self._reader:
            first = self._next(None)
            if first is None:
                return
            began, raised_here = time.monotonic(), 0
            while (number := self._next(began + GRACE_SECONDS)) is not None:
                if number == _LOST:
                    self._raise_again(first)
                    raised_here += 1
                elif raised_here:
                    raised_here -= 1
                elif time.monotonic() - began > _SAME_SECONDS:
                    break
        end_now()

    def _next(self, until: float | None) -> int | None:
        """Wait for one of the signals, which come as bytes; None when time is up or nobody sends any more."""
        while True:
            self._reader.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            try:
                received = self._reader.recv(1)
            except TimeoutError:
                return None
            if not received:
                return None
            if received[0] in self._numbers or received[0] == _LOST:
                return received[0]

    def _raise_again(self, number: int) -> None:
        time.sleep(_AGAIN_SECONDS)
        self._raised = False
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            signal.raise_signal(number)


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
