"""How many loader processes this machine can feed: they pass pictures through shared memory, which may be small."""

from __future__ import annotations

import shutil
from pathlib import Path

from automl_car.fold_records import Machine
from automl_car.pipeline.outcome import View
from automl_car.search.space import Space

try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None  # type: ignore[assignment]

SHARED_MEMORY = Path("/dev/shm")  # where Linux keeps it; a container has 64 MB of it by default
_WAITING = 2  # batches that torch lets each loader process make in advance
_FILES, _FILES_PER_WORKER = 128, 10  # open files of a training process, and what each loader process adds at most


def pick_workers(wanted: int | None, space: Space, machine: Machine, view: View, lanes: int = 1) -> int | None:
    """The number of loader processes of a fold, or 0 with a note where they would not work; None leaves it to training.

    On full shared memory a loader process is killed by SIGBUS, and without open files it waits for ever.

    Args:
        wanted: by the settings.
        lanes: folds that are trained at the same time; by default, their loader processes share the cores.
    """
    workers = (
        wanted if wanted is not None else 0 if machine.device == "cpu" else min(16, max(1, machine.cores // lanes))
    )
    if "full" not in space.tunings or not workers:
        return wanted
    side = max(size for sizes in space.full_sizes.values() for size in sizes)
    if lack := _lack(workers, lanes, space.fixed["batch_size"] * side**2 * 3):
        view.note(f"photos are loaded without processes of their own: {lack}")
        return 0
    return wanted


def _lack(workers: int, lanes: int, batch_bytes: int) -> str:
    """What so many loader processes lack; empty where there is enough."""
    needed = lanes * (_WAITING * workers + 2) * batch_bytes
    if SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < needed:
        return (
            f"{lanes * workers} of them need {needed / 1e6:.1f} MB of {SHARED_MEMORY}, and {free / 1e6:.1f} MB are free"
        )
    files = _FILES + _FILES_PER_WORKER * workers
    if resource is not None and 0 <= (most := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) < files:
        return f"{workers} of them need {files} open files, and `ulimit -Hn` allows {most}"
    return ""
