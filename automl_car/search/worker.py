"""The training process: receives fold tasks, sends epochs and results, and ends with its driver."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from automl_car.catalog.words import how_to_install
from automl_car.errors import AutomlCarError, ExecutorError
from automl_car.records import FoldTask, Machine, SpeedTask
from automl_car.search.blame import blame
from automl_car.search.tryout import TryOut


def serve(connection: Connection, log: str) -> None:
    """Answer every task until the driver hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _redirect(log)
    faulthandler.enable()  # where a plugin's code crashed is then in the log
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send(_prepare())
    while True:
        try:
            task: FoldTask | SpeedTask = connection.recv()
        except EOFError:
            return
        connection.send(_answer(task, connection))


def _answer(task: FoldTask | SpeedTask, connection: Connection) -> Any:
    from automl_car.training.fold import train_fold
    from automl_car.training.speed import measure_speed

    try:
        catalog = _catalog(task.plugins)
        _try_out(task.recipe, catalog, task.plugins.time_limit)
        if isinstance(task, SpeedTask):
            return measure_speed(task, catalog)
        return train_fold(task, catalog, _prepared(task.directory, task.cache), connection.send)
    except (Exception, SystemExit) as error:  # plugin code may raise anything, `sys.exit()` included
        sendable = _as_sendable(error, task.recipe.backbone)
        sendable.culprits = blame(error, task.recipe)
        return sendable


_try_out = TryOut()


def _as_sendable(error: BaseException, backbone: str) -> AutomlCarError:
    """An error that can travel between processes; foreign ones become an ExecutorError with their traceback."""
    if isinstance(error, AutomlCarError):
        if error.__cause__ is not None and error.hint is None:
            error.hint = "".join(traceback.format_exception(error.__cause__))
        return error
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

    device = devices.pick_device()
    devices.prepare(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return Machine(device.type, name, os.cpu_count() or 1)


def _redirect(log: str) -> None:
    """Send what libraries print to a file: the terminal belongs to the driver's live view."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())


def _end_with_parent() -> None:
    """A driver that was killed cannot say so: without it the process would train on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
