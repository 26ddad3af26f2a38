"""Writing files so that a crash, a kill or a full disk leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a whole file; an existing one stays in place until the new one is safely on the disk.

    Args:
        path: its folder must exist.
        data: text is encoded as UTF-8, line ends as they are.

    Raises:
        OSError: the disk is full, or the folder is missing or read-only; an existing file is untouched.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # in the same folder: a rename cannot cross file systems
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file and wait until it is on the disk; for folders that are renamed when they are complete.

    Raises:
        OSError: the disk is full; what was written stays for the caller to remove with the folder.
    """
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; a rename is only then safe from a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and keeps names safe by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
