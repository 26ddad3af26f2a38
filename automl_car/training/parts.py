"""What an unfinished computation of features leaves, so that an interruption costs half a minute and not hours.

    <cache>/features/<key>/unfinished/train-0-4096/<view>.npy   float16 (n, D): rows 0 to 4,095
                                                   sha256.txt   their checksums

Nobody ever adds to a file that another process may add to: a part is a folder that gets its name when it is complete,
and where two processes make the same one, the first one's stays. The next computation goes on behind the parts that
follow each other from the first row on, and removes all of them when it is done.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from automl_car.data.sealed import check_seal, seal
from automl_car.files import complete_folder
from automl_car.training.mapped import append_rows, copy_rows, wait_for_disk
from automl_car.training.views import View

logger = logging.getLogger("automl_car")

PART_SECONDS = 30.0


@dataclass(frozen=True)
class Kept:
    """The parts of a file that follow each other from its first row on, and how many rows they have."""

    rows: int = 0
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The parts of some views of one network's features.

    Attributes:
        folder: of all parts.
        views: that each part has.
        width: D.
    """

    folder: Path
    views: Sequence[View]
    width: int

    def kept(self, name: str, count: int) -> Kept:
        """What is there of the file of a name, which will have `count` rows."""
        found = Kept()
        while (step := self._next(name, range(found.rows, count))) is not None:
            stop, folder = step
            found = Kept(stop, (*found.folders, folder))
        return found

    def _next(self, name: str, rows: range) -> tuple[int, Path] | None:
        """The longest part that begins with the first of some rows and is whole, and the row behind it."""
        found = [(_stop(path), path) for path in self.folder.glob(f"{name}-{rows.start}-*")]
        for stop, path in sorted(found, reverse=True):
            if stop - 1 in rows and self._has_views(path) and self._is_whole(path, stop - rows.start):
                return stop, path
        return None

    def _has_views(self, path: Path) -> bool:
        return all((path / f"{view.name}.npy").is_file() for view in self.views)

    def _is_whole(self, path: Path, rows: int) -> bool:
        """Whether a part can be used; a damaged one is removed."""
        try:
            for view in self.views:
                check_seal(path / f"{view.name}.npy")
                if (shape := _mapped(path, view).shape) != (rows, self.width):
                    raise ValueError(f"{view.name}.npy has the shape {shape}")
        except (OSError, ValueError) as error:
            logger.warning("a part of the features in %s is damaged, and computed again: %s", path, error)
            shutil.rmtree(path, ignore_errors=True)
            return False
        return True

    def take(self, kept: Kept, targets: Mapping[View, Path]) -> None:
        """Add the rows that are there to the file of each view.

        Raises:
            MachineError: the disk is full.
        """
        for folder in kept.folders:
            for view, target in targets.items():
                append_rows(target, _mapped(folder, view))

    def keep(self, name: str, rows: range, sources: Mapping[View, Path]) -> None:
        """Make a part of rows that the file of each view has already.

        Raises:
            MachineError: the disk is full.
        """
        target = self.folder / f"{name}-{rows.start}-{rows.stop}"
        # Another process may be done with all of them, and remove the parts just now.
        with suppress(FileNotFoundError), complete_folder(target) as part:
            for view, source in sources.items():
                copy_rows(source, part / f"{view.name}.npy", rows)
                wait_for_disk(part / f"{view.name}.npy")
            seal(part, *(f"{view.name}.npy" for view in sources))

    def drop(self) -> None:
        """Remove all parts: the features are complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Parting:
    """Makes a part of the rows that were added to a file, whenever half a minute has gone by.

    Args:
        first: row that is added next.
    """

    def __init__(self, parts: Parts, name: str, first: int, targets: Mapping[View, Path]) -> None:
        self._parts = parts
        self._name = name
        self._first = first
        self._targets = targets
        self._since = time.monotonic()

    def added(self, stop: int) -> None:
        """All rows before this one are in the file now."""
        if time.monotonic() - self._since > PART_SECONDS:
            self._parts.keep(self._name, range(self._first, stop), self._targets)
            self._first, self._since = stop, time.monotonic()


def _stop(part: Path) -> int:
    """The row behind the last one of a part; 0 for what is no part."""
    stop = part.name.rpartition("-")[2]
    return int(stop) if stop.isdecimal() else 0


def _mapped(part: Path, view: View) -> NDArray[np.float16]:
    array: NDArray[np.float16] = np.load(part / f"{view.name}.npy", mmap_mode="r", allow_pickle=False)
    return array
