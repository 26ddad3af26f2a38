"""A path in, the bytes of an ordinary file out: nothing that waits for ever, and nothing that fills the memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from automl_car.errors import DataError

MAX_BYTES = 500_000_000  # 100 million pixels of RGB, the most that is decoded, take 300 million


def read_bytes(path: Path) -> bytes:
    """All bytes of an ordinary file.

    Raises:
        DataError: with the bare reason, such as "is a folder".
    """
    try:
        check_ordinary(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:  # a sparse file costs who sends it nothing
                raise DataError(f"it has more than {MAX_BYTES // 1_000_000} MB")
            return file.read(size)  # and no more: what says that it has 0 bytes, as those of /proc do, may never end
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("it is a link to a missing file" if path.is_symlink() else "it does not exist") from error
    except OSError as error:
        why = "a link that leads to itself" if error.errno == errno.ELOOP else error.strerror
        raise DataError(f"it cannot be read ({why})") from error
    except ValueError as error:  # a NUL in a name, which no file can have
        raise DataError(f"it cannot be read ({error})") from error


def kind_of(path: Path | str) -> Literal["file", "folder", "other", "nothing"]:
    """What lies there; nothing does at the end of a loop of links, or under a name that is too long for the disk."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a million texts are asked for sooner than as many paths
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "nothing"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def check_ordinary(path: Path) -> None:
    """Refuse what is no ordinary file before it is opened: reading a pipe would wait for ever.

    Raises:
        DataError: with the bare reason.
        OSError: there is no such file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError("it is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise DataError("it is a pipe or a device, not a file")


def read_ordinary(path: Path) -> bytes:
    """All bytes of a table or of settings.

    Raises:
        DataError: names the file and says why it cannot be read.
    """
    try:
        check_ordinary(path)
        return path.read_bytes()
    except DataError as error:
        raise DataError(f"{path} cannot be read: {error.message}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
