"""Training processes side by side on one machine: one for each GPU, or as many as the settings say.

Each lane is a child of its own (`executor.py`), which is replaced when it dies and sees one GPU. Several lanes share a
GPU where the folds so far needed so little of its memory that one more fits. The cores are divided among the lanes, not
given to each of them: threads beyond the cores only wait for each other.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Literal

from automl_car.errors import AutomlCarError, ExecutorError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.search.executor import LocalExecutor, Watch

Workers = int | Literal["auto"]
MOST_ON_A_GPU = 4  # lanes
MEMORY_SHARE = 0.9  # of a GPU, which all lanes on it may need together
_ENDED = "The search has ended, and with it its training processes."
_GPUS = "CUDA_VISIBLE_DEVICES"
# What the libraries that compute on a CPU read when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Fleet:
    """An executor of several lanes; the first one starts at once, the others when there is work for them.

    Args:
        watch: called with each epoch and progress of the folds in flight, by one thread at a time.
        log: file that the children's stderr goes to.
        workers: lanes; "auto": one on a CPU, one a GPU, and more where they fit into its memory.
    """

    def __init__(self, watch: Watch, log: Path, workers: Workers = "auto") -> None:
        self._watch = watch
        self._log = log
        self._workers = workers
        self._watching, self._changing = threading.Lock(), threading.RLock()
        self._tasks: deque[tuple[FoldTask | SpeedTask, Future[Any]]] = deque()  # that wait for a lane
        self._peak = 0  # bytes that a fold needed at most
        self._closed = False
        self._found: Machine | None = None
        self._lanes = [self._open(0)]

    def machine(self) -> Machine:
        """What the first child found; waits until it has started."""
        if self._found is None:
            self._found = self._lanes[0].executor.machine()
        return self._found

    def slots(self) -> int:
        """Lanes that there may be now."""
        if self._workers != "auto":
            return self._workers
        machine = self.machine()
        return machine.devices * lanes_that_fit(machine.memory, self._peak)

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """Train the fold in the next lane that is free."""
        return self._send(task)

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """Try the recipe in the next lane that is free."""
        return self._send(task)

    def close(self) -> None:
        """End all children at once, whatever they are doing."""
        with self._changing:
            self._closed = True
            waiting = list(self._tasks)
            self._tasks.clear()
        for _, future in waiting:
            future.set_exception(ExecutorError(_ENDED))
        closing = [threading.Thread(target=lane.executor.close) for lane in self._lanes]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    # ---- tasks ----

    def _send(self, task: FoldTask | SpeedTask) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            self.machine()  # how many lanes there are depends on it
        except AutomlCarError as error:
            future.set_exception(error)
            return future
        with self._changing:
            if self._closed:
                raise ExecutorError(_ENDED)
            self._tasks.append((task, future))
            self._hand_out()
        return future

    def _hand_out(self) -> None:
        """Give waiting tasks to lanes that are free."""
        while self._tasks and (lane := self._free_lane()) is not None:
            task, future = self._tasks.popleft()
            lane.is_busy = True
            executor = lane.executor
            answer: Future[Any] = executor.submit(task) if isinstance(task, FoldTask) else executor.measure(task)
            answer.add_done_callback(partial(self._take, lane, future))

    def _take(self, lane: _Lane, future: Future[Any], answer: Future[Any]) -> None:
        """Hand on the answer of a lane, and give it another task; called by its thread."""
        error = answer.exception()
        with self._changing:
            lane.is_busy = False
            if error is None:
                self._peak = max(self._peak, answer.result().peak_memory_bytes)
            if not self._closed:
                self._hand_out()
        if error is None:
            future.set_result(answer.result())
        else:
            future.set_exception(error)

    # ---- lanes ----

    def _free_lane(self) -> _Lane | None:
        """The first lane that is free, opened if need be: the first ones are on GPUs of their own."""
        slots = self.slots()
        while len(self._lanes) > slots and not self._lanes[-1].is_busy:
            self._lanes.pop().executor.close()  # the folds have become larger than one thought
        free = [lane for lane in self._lanes[:slots] if not lane.is_busy]
        if not free and len(self._lanes) < slots:
            self._lanes.append(self._open(len(self._lanes)))
            return self._lanes[-1]
        return free[0] if free else None

    def _open(self, number: int) -> _Lane:
        """A new lane; all but the first one have to find what that has found."""
        executor = LocalExecutor(
            self._tell,
            self._log,
            environment=partial(self._environment, number),
            threads=self._share,
            machine=self._found,
        )
        return _Lane(executor)

    def _tell(self, task: FoldTask, message: Epoch | Progress) -> None:
        with self._watching:
            self._watch(task, message)

    def _share(self) -> int | None:
        """Threads of each lane; None where there is only one."""
        return share_of_cores(self.slots())

    def _environment(self, number: int) -> Mapping[str, str]:
        """Variables of the children of a lane: the GPU that they see, and the threads of their libraries.

        Before the first child has said how many GPUs there are, it sees all of them and takes the first.
        """
        variables, found = {}, self._found
        if found is not None and found.device == "cuda":
            variables[_GPUS] = visible_gpu(number, found.devices, os.environ.get(_GPUS))
        if self._workers != "auto" and (threads := share_of_cores(self._workers)):
            variables |= dict.fromkeys(_THREADS, str(threads))
        return variables


class _Lane:
    """A child, and whether it has a task."""

    def __init__(self, executor: LocalExecutor) -> None:
        self.executor = executor
        self.is_busy = False


def lanes_that_fit(memory: int, peak: int) -> int:
    """Lanes on one GPU: as many as its memory holds if each needs what the largest fold so far did; at first one.

    Args:
        memory: bytes of the GPU; 0 where there is none.
        peak: bytes that a fold needed at most; 0 while that is not known.

    Example:
        >>> lanes_that_fit(80 * 2**30, 24 * 2**30), lanes_that_fit(80 * 2**30, 2**30), lanes_that_fit(80 * 2**30, 0)
        (3, 4, 1)
    """
    if not memory or not peak:
        return 1
    return max(1, min(MOST_ON_A_GPU, int(MEMORY_SHARE * memory / peak)))


def share_of_cores(lanes: int) -> int | None:
    """Threads of each of so many lanes, at least 1, and no more than the environment allows; None for a single one."""
    if lanes == 1:
        return None
    allowed = os.environ.get(_THREADS[0], "")
    share = max(1, (os.cpu_count() or 1) // lanes)
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share


def visible_gpu(lane: int, devices: int, visible: str | None) -> str:
    """What a lane sees of the GPUs that this process sees; with more lanes than GPUs, they take turns.

    Example:
        >>> visible_gpu(1, 2, None), visible_gpu(3, 2, "4,7"), visible_gpu(0, 1, "GPU-8932f937")
        ('1', '7', 'GPU-8932f937')
    """
    names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(devices)]
    return names[lane % devices]
