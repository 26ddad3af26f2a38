"""The training process: receives fold tasks, sends epochs, results and signs of life, and ends with its driver.

Signals are its driver's to handle. Ctrl-C reaches both; the driver then sends SIGTERM, on which work is broken off in
order, with its temporary files removed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from automl_car.catalog.words import how_to_install

try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None  # type: ignore[assignment]

from automl_car.errors import AutomlCarError, ExecutorError, PluginError, StoreError
from automl_car.fold_records import FoldTask, Machine, SpeedTask
from automl_car.joint import part_recipes
from automl_car.lifetime import end_with_parent, watch_parent
from automl_car.pulse import pulse, pulses
from automl_car.search.beats import BEAT_SECONDS, Beat
from automl_car.search.blame import blame
from automl_car.search.lost import as_lost
from automl_car.search.tryout import TryOut
from automl_car.search.wire import ENDED, unpacked
from automl_car.system_errors import as_machine_error

_ENOUGH_FILES = 65_536


class _Ended(BaseException):
    """The driver needs this process no longer."""


def serve(connection: Connection, log: str) -> None:
    """Answer every task until the driver hangs up."""
    end_with_parent()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows lacks one
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _break_off)
    try:
        _serve(_Line(connection), log)
    except _Ended:
        os._exit(ENDED)  # what plugins left to be done at an exit could take for ever


def _break_off(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the clean-up is not to be broken off
    raise _Ended


def _serve(line: _Line, log: str) -> None:
    watch_parent()
    try:
        _redirect(log)
        faulthandler.enable()  # where a plugin's code crashed is then in the log
    except OSError as error:
        line.send(as_machine_error(error) or _as_foreign(error, log))
        return
    with line.beating():
        machine = _prepare()
    line.send(machine)
    while True:
        try:
            task, threads = line.receive()
        except EOFError:
            return
        if threads is not None:
            _take_share(threads)
        with line.beating():
            answer = _answer(task, line)
        line.send(answer)


class _Line:
    """The connection to the driver, which two threads write to: one works, one sends signs of life meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    def receive(self) -> tuple[FoldTask | SpeedTask, int | None]:
        """The next task, and the threads to compute it with, where that is said."""
        message, threads = self._connection.recv()
        return unpacked(message), threads

    def send(self, message: Any) -> None:
        """Tell the driver; whatever is told is a step of the work."""
        pulse()
        with self._one_at_a_time:
            self._connection.send(message)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Send signs of life until the block is left."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()

    def _beat(self, done: threading.Event) -> None:
        while not done.wait(BEAT_SECONDS):
            with self._one_at_a_time:
                self._connection.send(Beat(pulses()))


def _answer(task: FoldTask | SpeedTask, line: _Line) -> Any:
    from automl_car.search.elsewhere import carry_out

    try:
        return carry_out(task, lambda here, bring: _work(here, bring, line), line.send)
    except (Exception, SystemExit) as error:  # plugin code may raise anything, `sys.exit()` included
        if (machines := _of_machine(error, task)) is not None:
            return machines
        sendable = _as_sendable(error, task)
        sendable.culprits = blame(error, task.recipe)
        return sendable


def _work(task: FoldTask | SpeedTask, bring: Callable[[str], None], line: _Line) -> object:
    from automl_car.training.features import features_key
    from automl_car.training.fold import train_fold
    from automl_car.training.speed import measure_speed

    catalog = _catalog(task.plugins)
    _try_out(task.recipe, catalog, task.plugins.time_limit)
    if isinstance(task, SpeedTask):
        return measure_speed(task, catalog)
    try:
        prepared = _prepared(task.directory, task.cache)
        if task.recipe.tuning == "head":
            parts = catalog.parts(task.recipe.backbone)
            for part, recipe in zip(parts, part_recipes(task.recipe, parts), strict=True):
                bring(features_key(part, recipe, prepared))
        return train_fold(task, catalog, prepared, line.send)
    except StoreError:  # what is damaged is read anew
        _prepared.cache_clear()
        raise


_try_out = TryOut()


def _of_machine(error: BaseException, task: FoldTask | SpeedTask) -> AutomlCarError | None:
    """What the machine lacks, also where that shows in a plugin's code; None where it is not the machine's fault."""
    folders = (task.cache, *((task.directory,) if isinstance(task, FoldTask) else ()))
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and (refused := as_machine_error(seen, folders=folders)):
            return refused
        if not isinstance(seen, AutomlCarError) and (lost := as_lost(seen, task.recipe)):
            return lost
        seen = seen.__cause__ if isinstance(seen, PluginError) else None
    return None


def _as_sendable(error: BaseException, task: FoldTask | SpeedTask) -> AutomlCarError:
    """An error that can travel between processes; foreign ones become an ExecutorError with their traceback."""
    if isinstance(error, AutomlCarError):
        if error.__cause__ is not None and error.hint is None:
            error.hint = "".join(traceback.format_exception(error.__cause__))
        return error
    return _as_foreign(error, task.recipe.backbone)


def _as_foreign(error: BaseException, backbone: str) -> ExecutorError:
    lines = "".join(traceback.format_exception(error))
    words = f"{type(error).__name__}: {error}{how_to_install(error)}"
    return ExecutorError(f"Training `{backbone}` raised {words}", hint=lines)


@lru_cache(maxsize=1)
def _catalog(sources: Any) -> Any:
    from automl_car.catalog.manager import load_catalog

    return load_catalog(sources)


@lru_cache(maxsize=1)
def _prepared(directory: Path, cache: Path) -> Any:
    from automl_car.data.prepare import open_prepared

    return open_prepared(directory, cache)


def _prepare() -> Machine:
    import torch

    from automl_car.training import device as devices

    _allow_open_files()
    device = devices.pick_device()
    devices.prepare(device)
    cores = os.cpu_count() or 1
    if device.type != "cuda":
        return Machine(device.type, "CPU", cores)
    memory = torch.cuda.get_device_properties(device).total_memory
    return Machine(device.type, torch.cuda.get_device_name(device), cores, torch.cuda.device_count(), memory)


def _take_share(threads: int) -> None:
    from automl_car.training.device import take_share

    take_share(threads)


def _allow_open_files() -> None:
    """As many as the system lets a process have: each picture that a loader process sends is one."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a Mac says that it allows more than it does
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _redirect(log: str) -> None:
    """Send what libraries print to a file: the terminal belongs to the driver's live view."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
