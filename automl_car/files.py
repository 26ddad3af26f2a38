"""Writing files so that a crash, a kill or a full disk leaves the old file or the new one, never half of one.

Errors of the system name the file that was to be written: by itself, a write that fails does not say where.
"""

from __future__ import annotations

import glob
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from automl_car.leftovers import is_abandoned, tag
from automl_car.system_errors import as_machine_error, naming


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file; an existing one stays in place until the new one is safely on the disk.

    Args:
        path: its folder must exist.
        data: text is encoded as UTF-8, line ends as they are.

    Raises:
        OSError: the disk is full, or the folder is missing or read-only; an existing file is untouched.
    """
    with open_atomically(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece; it takes the place of an existing one when the block ends well.

    Args:
        path: its folder must exist.

    Raises:
        OSError: as `write_atomically`.
    """
    temporary = path.with_name(f".{tag()}.tmp")  # in the same folder: a rename cannot cross file systems
    try:
        with naming(path, instead_of=temporary), temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a .npz file, which has a checksum of each.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is damaged.
    """
    data = io.BytesIO(path.read_bytes())  # NumPy leaves the file open where it is damaged
    try:
        with np.load(data, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a flipped bit can lead to any of them
        raise ValueError(f"{path.name} is damaged: {error}") from error


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file and wait until it is on the disk; for folders that are renamed when they are complete.

    Raises:
        OSError: the disk is full; what was written stays for the caller to remove with the folder.
    """
    with naming(path), path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def complete_folder(target: Path) -> Iterator[Path]:
    """A temporary folder to write into; it becomes `target` when the block ends well, and vanishes when it does not.

    Where another process made `target` meanwhile, its folder stays: the name says what is in it. Folders that killed
    processes left beside it are removed, as they would cost gigabytes for ever.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    temporary = target.with_name(f"{target.name}.partial-{tag()}")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def passing_folder(beside: Path) -> Iterator[Path]:
    """A temporary folder on the file system of another one, which vanishes when the block is left.

    Args:
        beside: a folder, there or not, whose own folder is there.
    """
    temporary = beside.with_name(f"{beside.name}.partial-{tag()}")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """A temporary folder to write into; it takes the place of `target` when the block ends well, and vanishes else.

    No system swaps two folders in one step everywhere: for a moment there is none of the name, and never half of one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent, glob.escape(target.name))  # and nothing else: it may be anybody's folder
    temporary, old = (target.with_name(f"{target.name}.partial-{tag()}") for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(directory: Path, name: str = "*") -> None:
    for folder in directory.glob(f"{name}.partial-*"):
        if is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, as far as they are missing, and wait until their names are on the disk.

    What is written into a folder whose own name a power cut takes away is lost, however long one waited for it.

    Raises:
        OSError: the disk is full, or a folder is read-only.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; a rename is only then safe from a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and keeps names safe by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with naming(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Make a folder if it is not there, and try to write into it: better now than after hours of training.

    Raises:
        MachineError: that cannot be done; the message names the folder.
    """
    probe = folder / f".{tag()}.tmp"
    try:
        with naming(folder, instead_of=probe):
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise (as_machine_error(error) or error) from error
