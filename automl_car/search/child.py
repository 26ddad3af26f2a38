"""A training process as its driver sees it: started, asked, watched, and ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from automl_car.errors import AutomlCarError, ExecutorError, KilledError, ProcessLostError
from automl_car.fold_records import Epoch, FoldTask, Machine, Progress, SpeedTask
from automl_car.search import beats
from automl_car.search.wire import ENDED, packed

# Python's helper tidies up the shared memory of processes that were ended, and would say so in the terminal each time.
_QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
GRACE_SECONDS = 3.0  # for a process that is asked to end, to remove its temporary files
_STARTING = threading.Lock()  # of two processes that start at once, each has its own variables


class Child:
    """One process, started at once.

    It ends with the thread that makes it (see `lifetime`), so that thread has to live as long as the process.

    Args:
        log: file that its output goes to.
        environment: variables that it has besides those of this process, or in their place.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, log: Path, environment: Mapping[str, str] | None = None) -> None:
        from automl_car.search.worker import serve

        if _QUIET not in sys.warnoptions:
            sys.warnoptions.append(_QUIET)  # Python hands them on to the processes that it starts
        self._log = log
        self._reaping = threading.Lock()
        context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has threads
        self._connection, theirs = context.Pipe()
        # Not a daemon: those may have no children, and loader processes are its children.
        self._process = context.Process(target=serve, args=(theirs, str(log)))
        with _having(environment or {}):
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        with self._reaping:
            return self._process.is_alive()

    def machine(self) -> Machine:
        """What it found; its first message.

        Raises:
            ExecutorError: it did not come so far.
            MachineError: the system lacks what it needs.
        """
        message = self._receive()
        if isinstance(message, AutomlCarError):
            raise message
        if not isinstance(message, Machine):
            raise ExecutorError(f"The training process began with {message!r}.")
        return message

    def ask(
        self, task: FoldTask | SpeedTask, watch: Callable[[Epoch | Progress], None], threads: int | None = None
    ) -> object:
        """Its answer to a task: a result, or an error.

        Args:
            watch: called with what it tells on the way.
            threads: that it may compute with from now on; None: as many as it does.

        Raises:
            ExecutorError: it ended, or hangs; it is dead in any case.
        """
        try:
            self._connection.send((packed(task), threads))
        except OSError:
            raise self._lost() from None
        while isinstance(message := self._receive(), Epoch | Progress):
            watch(message)
        return message

    def end(self) -> None:
        """End it: it has a moment to remove its temporary files, if it is not beyond that."""
        self._process.terminate()
        with self._reaping:
            self._process.join(GRACE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once, even if it hangs or is stopped."""
        self._process.kill()
        self._join()
        self._connection.close()  # whatever it still said is not heard

    def _receive(self) -> object:
        """The next message that is not a sign of life."""
        vigil = beats.Vigil()
        while True:
            beat = None
            try:
                if self._has_message():
                    message = self._connection.recv()
                    if not isinstance(message, beats.Beat):
                        return message
                    beat = message
            except (EOFError, OSError):
                raise self._lost() from None
            vigil.see(beat)
            if why := vigil.why_hanging():
                self.kill()
                error = ProcessLostError(f"The training process {why} and was ended.", hint=self._hint)
                error.hung = True
                raise error

    def _has_message(self) -> bool:
        """Wait for a message, an end, or a beat that did not come."""
        # Its loader processes have the other end of the connection, too, so that this can stay open when it is dead.
        ready = wait([self._connection, self._process.sentinel], timeout=beats.BEAT_SECONDS)
        if self._connection in ready or self._connection.poll():
            return True
        if ready:
            raise EOFError
        return False

    def _lost(self) -> ExecutorError:
        """Why it is not there any more."""
        self._join()
        code = self._process.exitcode
        assert code is not None
        if code == ENDED:
            code = -signal.SIGTERM
        kind = _kind_of_loss(code)
        error = kind(describe_exit(code), hint=self._hint)
        error.exit_code = code
        return error

    def _join(self) -> None:
        """Wait until it has ended. Of two threads that do so at once, one would not learn its exit code."""
        with self._reaping:
            self._process.join()

    @property
    def _hint(self) -> str:
        return f"its last words are in `{self._log}`."


@contextmanager
def _having(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables, for a process that is started meanwhile: it takes over those of its parent."""
    with _STARTING:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _kind_of_loss(code: int) -> type[ExecutorError]:
    if code >= 0:  # what it ran ended it, and would do so again
        return ExecutorError
    return KilledError if -code in (signal.SIGKILL, signal.SIGTERM) else ProcessLostError


def describe_exit(code: int | None) -> str:
    """How a process ended, in words.

    Example:
        >>> describe_exit(-9)
        'The training process was killed by SIGKILL.'
    """
    if code is not None and code < 0:
        return f"The training process was killed by {signal.Signals(-code).name}."
    return f"The training process ended with exit code {code}."
