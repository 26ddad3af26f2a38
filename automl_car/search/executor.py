"""Runs fold tasks in a process of its own, which is replaced when it dies.

An executor is anything with `submit(task) -> Future[FoldResult]`, `slots()`, `machine()` and `close()`. The local one
is one spawned child: when it is killed, crashes, hangs or leaks, it takes no other fold and no study with it. Several
of them side by side are a fleet (`fleet.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from automl_car.errors import DeviceLostError, ExecutorError, MachineError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.search.child import Child

Watch = Callable[[FoldTask, Epoch | Progress], None]


class Executor(Protocol):
    """What the driver needs; a cluster's executor offers the same."""

    def machine(self) -> Machine:
        """What folds are trained on."""
        ...

    def slots(self) -> int:
        """How many tasks it can run at once now, at least 1; this may change, as nodes of a cluster come and go.

        More tasks than that may be submitted: they wait their turn.
        """
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

    A thread starts the child, hands it one task after the other, and puts another one in its place when it is dead.

    Args:
        watch: called, from that thread, with each epoch and progress of the fold in flight.
        log: file that the child's stderr goes to.
        environment: returns the variables that a child has besides those of this process, when one is started.
        threads: returns how many a child may compute with, before each task; None: as it likes.
        machine: what the child has to find; None: what the first one finds.
    """

    def __init__(
        self,
        watch: Watch,
        log: Path,
        *,
        environment: Callable[[], Mapping[str, str]] = dict,
        threads: Callable[[], int | None] = lambda: None,
        machine: Machine | None = None,
    ) -> None:
        self._watch = watch
        self._log = log
        self._environment = environment
        self._threads = threads
        self._child: Child | None = None
        self._machine = machine  # that of the first child, which every other one has to find again
        self._is_new = True  # whether the child has not told its machine
        self._closed = False
        self._changing = threading.Lock()  # so that no child is started while the executor closes
        self._tasks: SimpleQueue[_Errand | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="executor", daemon=True).start()

    def machine(self) -> Machine:
        """What the child found; waits until it has started."""
        machine: Machine = self._machine or self._send(None).result()
        return machine

    def slots(self) -> int:
        """One child, one task at a time."""
        return 1

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """Train the fold in the child. Tasks submitted meanwhile wait their turn."""
        return self._send(task)

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """Try the recipe in the child."""
        return self._send(task)

    def close(self) -> None:
        """End the child, whatever it is doing."""
        with self._changing:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.end()  # before its thread ends, which would kill it
        self._tasks.put(None)

    def _send(self, task: FoldTask | SpeedTask | None) -> Future[Any]:
        errand = _Errand(task)
        self._tasks.put(errand)
        return errand.future

    # ---- in the executor's thread ----

    def _serve(self) -> None:
        self._run(_Errand(None))  # what goes wrong at the first start is told to whoever asks next
        while (errand := self._tasks.get()) is not None:
            self._run(errand)

    def _run(self, errand: _Errand) -> None:
        try:
            machine = self._ready()
            errand.future.set_result(machine if errand.task is None else self._answer(errand.task))
        except Exception as error:
            closed = ExecutorError("The training process was ended with the search.")
            errand.future.set_exception(closed if self._closed else error)

    def _answer(self, task: FoldTask | SpeedTask) -> object:
        child = self._child
        if child is None:
            raise ExecutorError("The search has ended.")

        def watch(message: Epoch | Progress) -> None:
            if isinstance(task, FoldTask):
                self._watch(task, message)

        message = child.ask(task, watch, self._threads())
        if isinstance(message, DeviceLostError):
            child.kill()  # nothing brings the GPU back to a process that has lost it
        if isinstance(message, BaseException):
            raise message
        return message

    def _ready(self) -> Machine:
        """Have a child that waits for a task, and say what it runs on."""
        with self._changing:
            if self._closed:
                raise ExecutorError("The search has ended, and with it its training process.")
            if self._child is None or not self._child.is_alive():
                self._child, self._is_new = Child(self._log, self._environment()), True
            child = self._child
        if self._is_new:
            self._machine = self._same(child)
            self._is_new = False
        assert self._machine is not None
        return self._machine

    def _same(self, child: Child) -> Machine:
        """What a new child found, which has to be what the first one did: nothing goes on a CPU behind one's back."""
        found = child.machine()
        before = self._machine or found
        if found.device != before.device:
            child.kill()
            raise MachineError(
                f"{before.name} is not there any more: a new training process found {found.name}.",
                hint="see to the GPU (`nvidia-smi`) and run the same command again; what is finished is kept.",
            )
        return before


class _Errand:
    """A task and the future of its answer; without a task, what is asked is the machine."""

    def __init__(self, task: FoldTask | SpeedTask | None) -> None:
        self.task = task
        self.future: Future[Any] = Future()
