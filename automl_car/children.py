"""What every process that another one starts has to do: leave Ctrl-C to its parent, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

from automl_car.lifetime import end_with_parent


def behave_as_child() -> None:
    """Leave SIGINT to the parent, and end as soon as the parent has ended, however that came about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot say so: without it the process would work on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
