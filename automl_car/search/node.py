"""Trains a fold on the machine that this is called on: what an engine for many machines runs on its nodes.

An engine (see `on_ray`) hands an `Order` to a process of its own on a node, which iterates over `answers`. The process
keeps one training process for all orders that it gets, so a fold on a node has the signs of life, the end of a hang and
the words for a crash that a fold on the driver's machine has. The training process ends with it.
"""

from __future__ import annotations

import atexit
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from automl_car import __version__
from automl_car.catalog.finding import find_plugins
from automl_car.catalog.records import PluginSources
from automl_car.errors import AutomlCarError, MachineError, ProcessLostError
from automl_car.fold_records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed
from automl_car.search.executor import LocalExecutor
from automl_car.search.wire import Packed, Task, packed, unpacked

Answer = Machine | Epoch | Progress | FoldResult | Speed | AutomlCarError
_LOOK_SECONDS = 0.5  # between two looks at whether the engine has ended this
_INSTALL = "install the same distribution on every node."
_SHARE = "put the file on a file system that every node has under the same path."


@dataclass(frozen=True)
class Wanted:
    """A plugin that a node must have: its name and version, and whether pip installs it or it is a file."""

    name: str
    version: str
    installed: bool


@dataclass(frozen=True)
class Order:
    """What travels to a node.

    Attributes:
        task: with the seconds that are left for it; None where nothing but the machine is asked for.
        log: of the driver; the training process writes beside it.
        plugins: those that the driver found and that do not come with automl-car.
        hide_gpus: see `make_order`.
        version: of automl-car, where the order comes from.
        sent: time of day when it was made.
    """

    task: Packed | None
    log: str
    plugins: tuple[Wanted, ...] = ()
    hide_gpus: bool = False
    version: str = __version__
    sent: float = field(default_factory=time.time)


def make_order(task: Task | None, log: Path, *, hide_gpus: bool = False) -> Order:
    """The order for a task, with paths that hold whatever folder a process of a node works in.

    Args:
        hide_gpus: whether it is trained on a CPU, though the node has a GPU.
    """
    if task is None:
        return Order(None, str(log.absolute()), hide_gpus=hide_gpus)
    verdicts = task.plugins.verdicts
    sources = replace(task.plugins, verdicts=verdicts and verdicts.absolute())
    here = replace(task, cache=task.cache.absolute(), plugins=sources)
    if isinstance(here, FoldTask):
        here = replace(here, directory=here.directory.absolute())
    return Order(packed(here), str(log.absolute()), plugin_versions(sources), hide_gpus)


def plugin_versions(sources: PluginSources) -> tuple[Wanted, ...]:
    """Each plugin that does not come with automl-car; no code of any is run."""
    found = [plugin for plugin in find_plugins(sources) if plugin.origin != "bundled"]
    wanted = [plugin for plugin in found if plugin.name not in sources.disabled]
    return tuple(Wanted(plugin.name, plugin.version(), plugin.origin == "installed") for plugin in wanted)


def answers(order: Order) -> Iterator[Answer]:
    """On a node: the machine, then what the task tells on the way, and at last its result, or an error.

    When it is broken off (the iterator is closed, or KeyboardInterrupt is raised in it), the training process is ended.
    """
    try:
        task = _unpacked(order)
        _require_same(order, task)
        if order.hide_gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        executor = _training.executor(Path(order.log))
        yield executor.machine()
        if task is not None:
            yield from _follow(executor, task)
    except AutomlCarError as error:
        yield error
    except BaseException:
        _training.end()
        raise


def _unpacked(order: Order) -> Task | None:
    """The task with what is left of its time, as it may have waited for a node; clocks of nodes agree by seconds."""
    if order.task is None:
        return None
    task, left = order.task
    if left is None:
        return unpacked(order.task)
    return unpacked((task, left - max(0.0, time.time() - order.sent)))


def _follow(executor: LocalExecutor, task: Task) -> Iterator[Answer]:
    news: SimpleQueue[Epoch | Progress | None] = SimpleQueue()
    _training.listener = news
    future: Future[Any] = executor.submit(task) if isinstance(task, FoldTask) else executor.measure(task)
    future.add_done_callback(lambda done: news.put(None))
    while True:
        try:
            message = news.get(timeout=_LOOK_SECONDS)  # not for ever: an interrupt is heard between two waits
        except Empty:
            continue
        if message is None:
            break
        yield message
    yield future.result()


def all_answers(order: Order) -> list[Answer]:
    """All of `answers` at the end, for an engine that cannot hand them on one by one."""
    return list(answers(order))


def hear(
    task: Task | None,
    messages: Iterable[Answer],
    watch: Callable[[FoldTask, Epoch | Progress], None],
    found: Callable[[Machine], None] = lambda machine: None,
) -> Machine | FoldResult | Speed:
    """On the driver's side: what the answers come to.

    Args:
        messages: of `answers`, as they come.
        watch: called with what is told on the way.
        found: called with what the node found; what it raises is raised.

    Raises:
        AutomlCarError: what went wrong on the node.
        ProcessLostError: the messages ended before the answer.
    """
    for message in messages:
        if isinstance(message, AutomlCarError):
            raise message
        if isinstance(message, Machine):
            found(message)
            if task is None:
                return message
        elif isinstance(message, Epoch | Progress):
            if isinstance(task, FoldTask):
                watch(task, message)
        else:
            return message
    raise ProcessLostError("The process of the node ended without an answer.")


# ---- what a node must have ------------------------------------------------------------------------------------------


def _require_same(order: Order, task: Task | None) -> None:
    """Raise MachineError where this node lacks what the driver's machine has."""
    node = socket.gethostname()
    if order.version != __version__:
        raise MachineError(
            f"The node `{node}` has version {__version__} of automl-car, and the search runs with {order.version}.",
            hint="install the same version on every node.",
        )
    if task is None:
        return
    fetches = task.exchange is not None  # then files come from there, and distributions do not
    if isinstance(task, FoldTask) and not fetches and not task.directory.is_dir():
        raise MachineError(
            f"The node `{node}` has no folder `{task.directory}`, where the folds are kept.",
            hint="put the workspace on a file system that every node has under the same path.",
        )
    wanted = [plugin for plugin in order.plugins if plugin.installed or not fetches]
    here = {plugin.name: plugin.version for plugin in plugin_versions(task.plugins)} if wanted else {}
    for plugin in wanted:
        if here.get(plugin.name) != plugin.version:
            raise MachineError(_differs(node, plugin, here), hint=_INSTALL if plugin.installed else _SHARE)


def _differs(node: str, plugin: Wanted, here: Mapping[str, str]) -> str:
    other = f"has version {here[plugin.name] or 'unknown'} of" if plugin.name in here else "does not have"
    return f"The node `{node}` {other} the plugin `{plugin.name}`, version {plugin.version or 'unknown'}."


# ---- the training process -------------------------------------------------------------------------------------------


class _Training:
    """The one training process of this process, on the devices that the engine lets this process see."""

    def __init__(self) -> None:
        self.listener: SimpleQueue[Epoch | Progress | None] | None = None
        self._executor: LocalExecutor | None = None
        self._kept_for: tuple[str | None, ...] = ()

    def executor(self, log: Path) -> LocalExecutor:
        """Have one; an engine may give another GPU to this process with each task."""
        wanted = (os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS"), str(log))
        if self._executor is None or wanted != self._kept_for:
            self.end()
            own = log.with_name(f"{log.stem}-{socket.gethostname()}-{os.getpid()}{log.suffix}")
            self._executor, self._kept_for = LocalExecutor(self._hear, own), wanted
        return self._executor

    def end(self) -> None:
        """End it, whatever it does."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()

    def _hear(self, task: FoldTask, message: Epoch | Progress) -> None:
        if self.listener is not None:
            self.listener.put(message)


_training = _Training()
# `multiprocessing` would wait at the exit for a process that waits for an order.
atexit.register(_training.end)
