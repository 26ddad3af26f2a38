"""What the system refuses, in words that say what to do: full disks, read-only folders, too many open files."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from automl_car.errors import MachineError

_AGAIN = "and run the same command again; what is finished is kept."
_SPACE = f"free space on that disk {_AGAIN}"
_RIGHTS = f"make it writable, or work in another folder (`--workspace DIR`), {_AGAIN}"
_FILES = f"allow more open files (`ulimit -n 4096`) {_AGAIN}"

# What is never the fault of a program that meets it, wherever that is.
_HINTS = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: f"allow larger files (`ulimit -f unlimited`) {_AGAIN}",
    errno.EROFS: _RIGHTS,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EIO: f"the disk or its connection fails: see to it {_AGAIN}",
}
_NO_RIGHTS = (errno.EACCES, errno.EPERM)
_NO_MEMORY = (errno.ENOMEM,)


def as_machine_error(error: OSError, *, folders: tuple[Path, ...] | None = None) -> MachineError | None:
    """What to tell a person of an error of the system; None where it may be a mistake in a program.

    Args:
        folders: where a missing right is the machine's fault; None: everywhere but in the program's own files.
    """
    path = _path(error)
    if error.errno in _HINTS:
        return MachineError(_message(error, path), hint=_HINTS[error.errno])
    if error.errno in _NO_MEMORY and folders is None:
        return MachineError("The memory of this machine does not suffice.", hint=f"end other programs {_AGAIN}")
    if path is None or error.errno is None:
        return None
    if folders is not None and not (error.errno in _NO_RIGHTS and _is_in(path, folders)):
        return None
    if folders is None and _is_in(path, (Path(__file__).parent, Path(sys.prefix), Path(sys.base_prefix) / "lib")):
        return None
    return MachineError(_message(error, path), hint=_RIGHTS if error.errno in _NO_RIGHTS else None)


@contextmanager
def naming(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Lets errors of the system name `path`, where they name nothing, as a write does, or a file beside it."""
    try:
        yield
    except OSError as error:
        beside = None if instead_of is None else str(instead_of)
        if error.errno is not None and error.filename in (None, beside):
            error.filename = str(path)
        raise


def lacks_memory(error: BaseException) -> bool:
    """Whether the system had no memory left to give."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NO_MEMORY)


def _message(error: OSError, path: Path | None) -> str:
    reason = error.strerror or os.strerror(error.errno or 0)
    verb = "written" if error.errno in _HINTS else "used"
    if path is None:
        return f"A file cannot be {verb} (which one is not told; `/tmp` and `/dev/shm` may be full, too): {reason}."
    return f"`{path}` cannot be {verb}: {reason}."


def _path(error: OSError) -> Path | None:
    name = error.filename2 or error.filename
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None


def _is_in(path: Path, folders: tuple[Path, ...]) -> bool:
    whole = Path(os.path.abspath(path))  # not resolve(): that asks the system that just refused  # noqa: PTH100
    return any(whole.is_relative_to(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100
