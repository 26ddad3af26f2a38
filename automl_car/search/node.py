"""Trains a fold on the machine that this is called on: what an engine for many machines runs on its nodes.

An engine (see `on_ray`) hands an `Order` to a process of its own on a node, which iterates over `answers`. The process
keeps one training process for all orders that it gets, so a fold on a node has the signs of life, the end of a hang and
the words for a crash that a fold on the driver's machine has. The training process ends with it.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from automl_car import __version__
from automl_car.catalog.finding import find_plugins
from automl_car.catalog.records import PluginSources
from automl_car.errors import AutomlCarError, MachineError
from automl_car.records import Epoch, FoldResult, FoldTask, Machine, Progress, Speed, SpeedTask
from automl_car.search.executor import LocalExecutor
from automl_car.search.wire import Packed, Task, packed, unpacked

Answer = Machine | Epoch | Progress | FoldResult | Speed | AutomlCarError
_LOOK_SECONDS = 0.5  # between two looks at whether the engine has ended this


@dataclass(frozen=True)
class Order:
    """What travels to a node.

    Attributes:
        task: with the seconds that are left for it; None where nothing but the machine is asked for.
        log: of the driver; the training process writes beside it.
        plugins: (name, version) of each plugin that the driver found and that does not come with automl-car.
        version: of automl-car, where the order comes from.
    """

    task: Packed | None
    log: str
    plugins: tuple[tuple[str, str], ...] = ()
    version: str = __version__


def make_order(task: Task | None, log: Path) -> Order:
    """The order for a task, with paths that hold whatever folder a process of a node works in."""
    if task is None:
        return Order(None, str(log.absolute()))
    verdicts = task.plugins.verdicts
    sources = replace(task.plugins, verdicts=verdicts and verdicts.absolute())
    here = replace(task, cache=task.cache.absolute(), plugins=sources)
    if isinstance(here, FoldTask):
        here = replace(here, directory=here.directory.absolute())
    return Order(packed(here), str(log.absolute()), plugin_versions(sources))


def plugin_versions(sources: PluginSources) -> tuple[tuple[str, str], ...]:
    """Name and version of each plugin that does not come with automl-car; no code of any is run."""
    found = [plugin for plugin in find_plugins(sources) if plugin.origin != "bundled"]
    return tuple((plugin.name, plugin.version()) for plugin in found if plugin.name not in sources.disabled)


def answers(order: Order) -> Iterator[Answer]:
    """On a node: the machine, then what the task tells on the way, and at last its result, or an error.

    When it is broken off (the iterator is closed, or KeyboardInterrupt is raised in it), the training process is ended.
    """
    try:
        task = None if order.task is None else unpacked(order.task)
        _require_same(order, task)
        executor = _training.executor(Path(order.log))
        yield executor.machine()
        if task is not None:
            yield from _follow(executor, task)
    except AutomlCarError as error:
        yield error
    except BaseException:
        _training.end()
        raise


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


# ---- what a node must have ------------------------------------------------------------------------------------------


def _require_same(order: Order, task: Task | None) -> None:
    """Raise MachineError where this node lacks what the driver's machine has."""
    node = socket.gethostname()
    if order.version != __version__:
        raise MachineError(
            f"The node `{node}` has version {__version__} of automl-car, and the search runs with {order.version}.",
            hint="install the same version on every node.",
        )
    if isinstance(task, FoldTask) and not task.directory.is_dir():
        raise MachineError(
            f"The node `{node}` has no folder `{task.directory}`, where the folds are kept.",
            hint="put the workspace on a file system that every node has under the same path.",
        )
    here = dict(plugin_versions(task.plugins)) if task is not None and order.plugins else {}
    for name, version in order.plugins:
        if here.get(name) != version:
            other = f"has version {here[name] or 'unknown'} of" if name in here else "does not have"
            raise MachineError(
                f"The node `{node}` {other} the plugin `{name}`, version {version or 'unknown'}.",
                hint="put the file on a file system that every node has under the same path, or install the same "
                "distribution on every node.",
            )


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
