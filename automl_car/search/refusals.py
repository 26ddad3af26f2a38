"""What SQLite cannot do because the system refuses, told as an error that says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import Engine, ExceptionContext

from automl_car.errors import MachineError

_SPACE = "free space on that disk and run the same command again; what is finished is kept."
_RIGHTS = "make the file and its folder writable, or work in another folder (`--workspace DIR`)."
# https://sqlite.org/rescode.html, the primary codes; all else is left to who asked.
_HINTS = {
    sqlite3.SQLITE_FULL: _SPACE,
    sqlite3.SQLITE_IOERR: f"see to that disk, or {_SPACE}",
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
}


@sqlalchemy.event.listens_for(Engine, "handle_error")
def _tell(context: ExceptionContext) -> None:
    """Called by SQLAlchemy with every error of a database; of all engines, as Optuna uses its own before it returns."""
    path = context.engine.url.database if context.engine is not None else None
    if refused := as_refusal(context.original_exception, Path(path or "studies")):
        raise refused from context.original_exception


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """The same for what the block does with the `sqlite3` module itself.

    Raises:
        MachineError: the system refused.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise as_refusal(error, path) or error from error


def as_refusal(error: BaseException, path: Path) -> MachineError | None:
    """What to tell a person of an error of SQLite; None where it is none of the system's."""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    hint = None if code is None else _HINTS.get(code & 0xFF)
    return MachineError(f"The study `{path}` cannot be written: {error}.", hint=hint) if hint else None
