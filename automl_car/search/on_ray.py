"""Folds as tasks of Ray: the driver's side. What runs on a node is `node.answers`.

Every fold is one Ray task with its cores and GPUs, which Ray starts where there is room, and never a second time by
itself: what a lost node was training is handed out again by `retrying`, which tells the person and keeps the cause.
Messages come back as they happen, as the items of a streaming generator; one thread per task waits for them, and is
gone when its task is lost, so that nothing is heard of an attempt that was given up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from automl_car.catalog.records import ExecutorContext
from automl_car.errors import AutomlCarError, ConfigError, ExecutorError, MachineError, ProcessLostError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.search.node import Answer, all_answers, answers, hear, make_order
from automl_car.search.ray_cluster import Cluster, Share, connect
from automl_car.search.ray_errors import explain, head_is_lost

Watch = Callable[[FoldTask, Epoch | Progress], None]
_CLOSING_SECONDS = 5.0  # for tasks to end their training processes; Ctrl-C has ten seconds for everything
_HEAD_SECONDS = 5.0  # between two looks at the head
_PATIENCE = 8  # looks in vain; Ray itself would end this process after a minute
_COUNT_SECONDS = 1.0  # between two counts of the nodes
_MOST_LOADERS = 16
_HELLOS = 3  # nodes that are asked what they are, should they be lost meanwhile


def open_ray(context: ExecutorContext, share: Share) -> RayExecutor:
    """Connect with a cluster, or start a Ray of this machine.

    Raises:
        ConfigError: a setting is wrong.
        MachineError: the cluster cannot be reached, or no Ray can be started.
    """
    wrong = {"cpus": share.cpus < 0, "gpus": share.gpus < 0 and share.gpus != -1, "at_least": share.at_least < 1}
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise ConfigError(f"settings: executors.ray.{name}: `{getattr(share, name):g}` is wrong: it is too small.")
    cluster = connect(context.address, share)
    context.note(cluster.describe())
    return RayExecutor(context.watch, context.log, cluster)


@dataclass(eq=False)
class _Errand:
    """A task that Ray has, and the future of its answer; without a task, what is asked is the machine."""

    task: FoldTask | SpeedTask | None
    future: Future[Any] = field(default_factory=Future)
    stream: Any = None
    thread: threading.Thread | None = None


class RayExecutor:
    """Trains folds on a cluster. Each task's future has its answer, or AutomlCarError for what went wrong.

    Args:
        watch: called with each epoch and progress, by one thread at a time.
        log: training processes write beside it, each into a file named after its node and the process there.
    """

    def __init__(self, watch: Watch, log: Path, cluster: Cluster) -> None:
        self._watch = watch
        self._log = log
        self._cluster = cluster
        self._lock, self._watching = threading.Lock(), threading.Lock()
        self._running: set[_Errand] = set()
        self._machine: Machine | None = None
        self._closed = False
        self._lost: MachineError | None = None
        self._ended = threading.Event()
        # A process keeps its training process for the next task; by itself, Ray would end it after one with a GPU.
        options = {"num_cpus": cluster.needs.cpus, "num_gpus": cluster.needs.gpus, "max_retries": 0, "max_calls": 0}
        self._remote = cluster.ray.remote(**options)(all_answers if cluster.remote else answers)
        self._hello = self._send(None)  # at once, so that imports on a node overlap with other work
        threading.Thread(target=self._watch_head, name="head of Ray", daemon=True).start()
        threading.Thread(target=self._count_nodes, name="nodes of Ray", daemon=True).start()

    def machine(self) -> Machine:
        """What the first node that answered found, with the cores of one fold; waits for a node.

        Raises:
            ProcessLostError: one node after the other was lost.
            AutomlCarError: what else went wrong there.
        """
        for again in reversed(range(_HELLOS)):
            try:
                self._hello.result()
                break
            except ProcessLostError:
                if not again:
                    raise
                self._hello = self._send(None)
        assert self._machine is not None
        return self._machine

    def slots(self) -> int:
        """Folds that the nodes of a moment ago have room for."""
        return self._cluster.slots()

    def submit(self, task: FoldTask) -> Future[FoldResult]:
        """Train the fold on some node. Where none has room, it waits in Ray."""
        return self._send(task)

    def measure(self, task: SpeedTask) -> Future[Speed]:
        """Try the recipe on some node."""
        return self._send(task)

    def close(self) -> None:
        """End all tasks and hang up; a Ray of this machine ends with that."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = tuple(self._running)
        self._ended.set()
        if self._lost is None:
            for errand in running:
                self._cancel(errand)
            until = time.monotonic() + _CLOSING_SECONDS
            for errand in running:
                if errand.thread is not None:
                    errand.thread.join(max(0.0, until - time.monotonic()))
        self._cluster.close()
        for errand in running:
            _fail(errand.future, ExecutorError("The training process was ended with the search."))

    def _send(self, task: FoldTask | SpeedTask | None) -> Future[Any]:
        errand = _Errand(task)
        with self._lock:
            if self._closed or self._lost:
                _fail(errand.future, self._lost or ExecutorError("The search has ended."))
                return errand.future
            self._running.add(errand)
        errand.thread = threading.Thread(target=self._run, args=(errand,), name="fold on Ray", daemon=True)
        errand.thread.start()
        return errand.future

    def _cancel(self, errand: _Errand) -> None:
        """Let its node break off what it does; there it raises KeyboardInterrupt.

        Once for each task, and for none that has ended: a second time, Ray (2.60) may end this process.
        """
        if errand.stream is not None and self._lost is None:
            with contextlib.suppress(self._cluster.ray.exceptions.RayError, ValueError):  # it, or its node, has ended
                self._cluster.ray.cancel(errand.stream)

    # ---- in the thread of a task ----

    def _run(self, errand: _Errand) -> None:
        try:
            answer = self._ask(errand)
        except BaseException as error:  # Ray raises SystemExit in a thread that waits while it is shut down
            closed = ExecutorError("The training process was ended with the search.")
            told = explain(error)
            told.__cause__ = None if told is error else error
            _fail(errand.future, closed if self._closed else self._lost or told)
        else:
            _answer(errand.future, answer)
        finally:
            with self._lock:
                self._running.discard(errand)

    def _ask(self, errand: _Errand) -> object:
        task = errand.task
        here = self._with_loaders(task) if isinstance(task, FoldTask) else task
        order = make_order(here, self._log, hide_gpus=not self._cluster.needs.gpus)
        errand.stream = self._remote.options(name="machine" if task is None else _name(task)).remote(order)
        return hear(task, self._messages(errand.stream), self._hear, self._require_same)

    def _messages(self, stream: Any) -> Iterator[Answer]:
        if self._cluster.remote:
            yield from self._cluster.ray.get(stream)
            return
        for reference in stream:
            yield self._cluster.ray.get(reference)

    def _hear(self, task: FoldTask, message: Epoch | Progress) -> None:
        with self._watching:
            self._watch(task, message)

    def _with_loaders(self, task: FoldTask) -> FoldTask:
        """Several folds share a node: the processes that load photos are those that a fold has cores for."""
        if task.workers is not None or self._machine is None or self._machine.device == "cpu":
            return task
        return replace(task, workers=min(_MOST_LOADERS, self._cluster.needs.cpus))

    def _require_same(self, found: Machine) -> None:
        """Raise MachineError where a node found another kind of device than the first one."""
        with self._lock:
            first = self._machine = self._machine or replace(found, cores=self._cluster.needs.cpus)
        if found.device != first.device:
            raise MachineError(
                f"The nodes differ: one trains on {first.name}, and another one found {found.name}.",
                hint="mend that node (`nvidia-smi`) or take it out of the cluster, and run the same command again; "
                "what is finished is kept.",
            )

    # ---- the cluster ----

    def _count_nodes(self) -> None:
        while not self._ended.wait(_COUNT_SECONDS):
            with contextlib.suppress(Exception):  # whether it is gone for good is for the other thread to say
                self._cluster.refresh()

    def _watch_head(self) -> None:
        """Give all tasks up when the head of the cluster is gone: Ray would wait, and then end this process."""
        missed = 0
        while not self._ended.wait(_HEAD_SECONDS):
            missed = 0 if self._cluster.answers() else missed + 1
            if missed >= _PATIENCE:
                break
        else:
            return
        with self._lock:
            self._lost = head_is_lost(f"its head has not answered for {_PATIENCE * _HEAD_SECONDS:.0f} s.")
            running = tuple(self._running)
        for errand in running:
            _fail(errand.future, self._lost)


def _name(task: FoldTask | SpeedTask) -> str:
    return task.label if isinstance(task, FoldTask) else f"speed of {task.recipe.backbone}"


def _answer(future: Future[Any], answer: object) -> None:
    with contextlib.suppress(InvalidStateError):  # it was given up meanwhile
        future.set_result(answer)


def _fail(future: Future[Any], error: AutomlCarError) -> None:
    with contextlib.suppress(InvalidStateError):  # it has an answer
        future.set_exception(error)
