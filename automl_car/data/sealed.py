"""Checksums of files that are written together, in a file beside them that `sha256sum -c` reads as well.

Whether a bit has flipped since, reading a number cannot tell: another label is as good as the right one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from automl_car.files import write_atomically

FILE = "sha256.txt"


def seal(directory: Path, *names: str) -> None:
    """Write the checksums of some files of a folder, and wait until they are on the disk."""
    lines = [f"{_digest(directory / name)}  {name}\n" for name in names]
    write_atomically(directory / FILE, "".join(lines))


def sealed_digest(path: Path) -> str:
    """The checksum that a file should have; empty where none was written."""
    try:
        lines = (path.parent / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.partition("  ")[0] for line in lines if line.partition("  ")[2] == path.name), "")


def check_seal(path: Path, *, required: bool = True) -> None:
    """Read a file and compare it with its checksum.

    Args:
        required: whether it must have one; files of earlier versions have none, and are taken as they are.

    Raises:
        ValueError: it is damaged.
        OSError: it is not there or cannot be read.
    """
    sealed = sealed_digest(path)
    if required and not sealed:
        raise ValueError(f"{path.name} has no checksum in {FILE}")
    if sealed and _digest(path) != sealed:
        raise ValueError(f"{path.name} does not match its checksum in {FILE}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- a file that is written once ------------------------------------------------------------------------------------


def copy_of(path: Path) -> Path:
    """Where the second copy of a file lies that cannot be made again."""
    return path.with_name(f"{path.stem}.copy{path.suffix}")


def whole(path: Path) -> Path:
    """The file, or its copy where that is the one that is whole."""
    copy, sealed = copy_of(path), sealed_digest(path)
    if not copy.is_file():
        return path
    if not path.is_file():
        return copy
    return copy if sealed and _digest(path) != sealed and _digest(copy) == sealed else path


def mend(path: Path) -> bool:
    """Let a file and its copy be the same again, the whole one of them; whether the file itself was damaged or gone."""
    copy, source = copy_of(path), whole(path)
    if not source.is_file():
        return False
    target = path if source == copy else copy
    data = source.read_bytes()
    if not target.is_file() or target.read_bytes() != data:
        write_atomically(target, data)
        return target == path
    return False
