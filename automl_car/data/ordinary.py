"""A path in, the bytes of an ordinary file out: nothing that waits for ever, and nothing that fills the memory."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from automl_car.errors import DataError

MAX_BYTES = 500_000_000  # 100 million pixels of RGB, the most that is decoded, take 300 million
_TOO_LONG = f"it has more than {MAX_BYTES // 1_000_000} MB"


def read_bytes(path: Path) -> bytes:
    """All bytes of an ordinary file.

    Raises:
        DataError: with the bare reason, such as "is a folder".
    """
    try:
        check_ordinary(path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise DataError("it is a link to a missing file" if path.is_symlink() else "it does not exist") from error
    except OSError as error:
        why = "a link that leads to itself" if error.errno == errno.ELOOP else error.strerror
        raise DataError(f"it cannot be read ({why})") from error
    except ValueError as error:  # a NUL in a name, which no file can have
        raise DataError(f"it cannot be read ({error})") from error
    if len(data) > MAX_BYTES:
        raise DataError(_TOO_LONG)
    return data


def check_ordinary(path: Path) -> None:
    """Refuse what is no ordinary file, or too long, before it is opened: reading a pipe would wait for ever.

    Raises:
        DataError: with the bare reason.
        OSError: there is no such file.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise DataError("it is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise DataError("it is a pipe or a device, not a file")
    if status.st_size > MAX_BYTES:  # as of a sparse file, which costs who sends it nothing
        raise DataError(_TOO_LONG)
