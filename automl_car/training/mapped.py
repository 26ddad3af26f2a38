"""Arrays too large for memory: written row by row with ordinary writes, then read through a memory map.

A writable map would be shorter to use, but on a full disk touching one of its pages kills the process with SIGBUS; a
write is an error that can be told.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from automl_car.errors import MachineError

_HALF = "<f2"  # float16 as a .npy file calls it
_ROWS_AT_ONCE = 4096


def write_header(path: Path, shape: tuple[int, int]) -> None:
    """Begin a .npy file of float16, to which `append_rows` adds the N rows of its shape (N, D).

    Raises:
        MachineError: the disk is full.
    """
    with _telling(path.parent), path.open("wb") as file:
        header = {"descr": _HALF, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)


def append_rows(path: Path, rows: NDArray[np.float16]) -> None:
    """Add rows float16 (n, D) to the end of a .npy file.

    Raises:
        MachineError: the disk is full.
    """
    with _telling(path.parent), path.open("ab") as file:
        file.write(np.ascontiguousarray(rows, dtype=_HALF).data)


def copy_rows(source: Path, target: Path, rows: range) -> None:
    """Copy rows that `append_rows` has added to a .npy file, which others may follow, into one of their own.

    Raises:
        MachineError: the disk is full.
    """
    with source.open("rb") as file:
        np.lib.format.read_magic(file)
        (_, width), _, kind = np.lib.format.read_array_header_1_0(file)
        file.seek(rows.start * width * kind.itemsize, os.SEEK_CUR)
        write_header(target, (len(rows), width))
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, len(rows) - first)
            append_rows(target, np.frombuffer(file.read(count * width * kind.itemsize), kind).reshape(count, width))


def wait_for_disk(path: Path) -> None:
    """Return when all that was written to a file is on the disk.

    Raises:
        MachineError: the disk is full.
    """
    with _telling(path.parent), path.open("ab") as file:
        os.fsync(file.fileno())


def spill(directory: Path, chunks: Iterable[Tensor]) -> Tensor:
    """Put rows into a file without a name, which is gone when the tensor is, even if the process is killed.

    Args:
        directory: of the file; is made.
        chunks: (n, D) each, of one floating-point type, on any device; at least one.

    Returns:
        (N, D) of that type on the host: all chunks, one below the other, mapped into memory. What is written to it
        changes the tensor and not the file.

    Raises:
        MachineError: the disk is full.
    """
    with _telling(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            for chunk in chunks:
                rows = chunk.contiguous().cpu().numpy()
                file.write(rows.data)
            file.flush()
            return torch.from_numpy(np.memmap(file, rows.dtype, "c").reshape(-1, rows.shape[1]))


@contextmanager
def _telling(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"Features cannot be written to {directory}: {error.strerror or error}.",
            hint="free space on that disk and run the same command again; what is finished is kept.",
        ) from error
