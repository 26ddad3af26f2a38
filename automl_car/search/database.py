"""The SQLite file of a study: whether it can be read, and where it goes when it cannot."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from automl_car.errors import StudyError

# What SQLite says of the machine and not of the file: no permission, busy, locked, no memory, read-only, interrupted,
# an error of the disk, full, cannot be opened, not allowed (https://sqlite.org/rescode.html).
_OF_THE_MACHINE = frozenset({3, 5, 6, 7, 8, 9, 10, 13, 14, 23})
_BESIDE = ("-wal", "-shm")  # SQLite's own files beside a database in write-ahead mode


def sqlite_path(url: str) -> Path | None:
    """The file that a storage URL names; None for other databases."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def why_damaged(path: Path) -> str:
    """What is wrong with a database, in SQLite's words; empty where nothing is, or where there is none.

    Every page is read and compared with the indices: 20 ms for a thousand trials.

    Raises:
        StudyError: the file is locked, or cannot be opened.
    """
    if not path.is_file() or not path.stat().st_size:
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as error:
        if not is_damage(error):
            raise unusable(path, error) from error
        return str(error)
    return "" if found == ["ok"] else " ".join("; ".join(found).split())


def is_damage(error: BaseException) -> bool:
    """Whether an error that came up while a study was read speaks of its file, and not of the machine.

    What a flipped bit leads to may be any error of SQLite, of JSON, or of what takes the values for others.
    """
    seen: BaseException | None = error
    while seen is not None:
        for candidate in (seen, getattr(seen, "orig", None)):  # SQLAlchemy keeps SQLite's error as `orig`
            code = getattr(candidate, "sqlite_errorcode", None)
            if code is not None:
                return code & 0xFF not in _OF_THE_MACHINE
        seen = seen.__cause__ or seen.__context__
    return not isinstance(error, OSError | MemoryError)


def unusable(path: Path, error: BaseException) -> StudyError:
    """What a person is told of a database that is locked or cannot be opened."""
    return StudyError(
        f"The study's database `{path}` cannot be used: {error}.",
        hint="look at the permissions of file and folder, at the space on the disk, and at what else has it open.",
    )


def set_database_aside(path: Path) -> Path:
    """Rename a database and SQLite's files beside it, so that a new one can take its place; returns the new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in _BESIDE:
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return aside


def remove_beside(path: Path) -> None:
    """Remove SQLite's files beside a database that is not there: they would be taken for those of the next one."""
    for suffix in _BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
