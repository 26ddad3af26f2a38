"""Runs fold tasks in a process of its own, which is replaced when it dies.

An executor is anything with `submit(task) -> Future[FoldResult]`, `machine()` and `close()`. The local one keeps one
spawned child per device: a child that is killed, crashes or leaks takes no other fold and no study with it.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from automl_car.errors import ExecutorError
from automl_car.records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask

Watch = Callable[[FoldTask, Epoch | Progress], None]


class Executor(Protocol):
    """What the driver needs; a cluster's executor offers the same."""

    def machine(self) -> Machine:
        """What folds are trained on."""
        ...

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """Train the fold; the future raises AutomlCarError for what went wrong."""
        ...

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """Try a recipe for a few steps; the future raises AutomlCarError for what went wrong."""
        ...

    def close(self) -> None:
        """End what is running and give the devices back."""
        ...


class LocalExecutor:
    """One child process on this machine, started at once so that its imports overlap with other work.

    Args:
        watch: called, from another thread, with each epoch and progress of the fold in flight.
        log: file that the child's stderr goes to.
    """

    def __init__(self, watch: Watch, log: Path) -> None:
        self._watch = watch
        self._log = log
        self._lock = threading.Lock()
        self._reaping = threading.Lock()
        self._closed = False
        self._machine: Machine | None = None
        self._start_child()

    def machine(self) -> Machine:
        """What the child found; waits until it has started."""
        if self._machine is None:
            message = self._receive()
            if not isinstance(message, Machine):
                raise ExecutorError(f"The training process began with {message!r}.")
            self._machine = message
        return self._machine

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """Train the fold in the child. Tasks submitted meanwhile wait their turn."""
        return self._send(task)

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """Try the recipe in the child."""
        return self._send(task)

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self._closed = True
        self._child.kill()
        self._join()

    def _start_child(self) -> None:
        from automl_car.search.worker import serve

        context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has threads
        self._connection, theirs = context.Pipe()
        # Not a daemon: those may have no children, and loader processes are its children.
        self._child = context.Process(target=serve, args=(theirs, str(self._log)))
        self._child.start()
        theirs.close()
        self._machine = None

    def _send(self, task: FoldTask | SpeedTask) -> Future[Any]:
        future: Future[Any] = Future()
        threading.Thread(target=self._run, args=(task, future), daemon=True).start()
        return future

    def _run(self, task: FoldTask | SpeedTask, future: Future[Any]) -> None:
        with self._lock:
            try:
                self.machine()
                self._transmit(task)
                while isinstance(message := self._receive(), Epoch | Progress):
                    assert isinstance(task, FoldTask)
                    self._watch(task, message)
            except Exception as error:
                future.set_exception(error)
                return
        if isinstance(message, BaseException):
            future.set_exception(message)
        else:
            future.set_result(message)

    def _transmit(self, task: FoldTask | SpeedTask) -> None:
        try:
            self._connection.send(task)
        except OSError:  # it died while it had nothing to do
            raise self._bury() from None

    def _receive(self) -> object:
        try:
            message: object = self._connection.recv()
            return message
        except (EOFError, OSError):
            raise self._bury() from None

    def _bury(self) -> ExecutorError:
        """Start a new child in place of the dead one; the error says how that one died."""
        self._join()
        code = self._child.exitcode
        if not self._closed:
            self._start_child()
        error = ExecutorError(describe_exit(code), hint=f"its last words are in `{self._log}`.")
        error.exit_code = code
        return error

    def _join(self) -> None:
        """Wait until the child has ended. Of two threads that do so at once, one would not learn its exit code."""
        with self._reaping:
            self._child.join()


def describe_exit(code: int | None) -> str:
    """How a process ended, in words.

    Example:
        >>> describe_exit(-9)
        'The training process was killed by SIGKILL.'
    """
    if code is not None and code < 0:
        return f"The training process was killed by {signal.Signals(-code).name}."
    return f"The training process ended with exit code {code}."
