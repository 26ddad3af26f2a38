"""When a database on a server is away: which of its errors say so, and how a search waits until it is back.

SQLAlchemy tells every error of every database to `_tell`, which raises DatabaseAwayError in place of those that time or
a person will mend. It is no error of SQLAlchemy, so it passes by Optuna's own attempts to try again, one of which would
make a trial twice when the answer to the first one was lost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy
from sqlalchemy.engine import Engine, ExceptionContext

from automl_car.errors import DatabaseAwayError
from automl_car.urls import without_password

T = TypeVar("T")

# https://www.postgresql.org/docs/current/errcodes-appendix.html: class 08 connection, 53 disk, memory, connections;
# deadlock, serialisation, statement or lock timeouts, read-only (a standby), shutdown, crash, starting up.
_POSTGRES_CLASSES = ("08", "53", "57P")
_POSTGRES = {"25006", "40001", "40P01", "40003", "55P03", "57014"}
# https://mariadb.com/kb/en/mariadb-error-codes/ and of the client: too many connections, disk full, shutdown, lock
# wait, deadlock, read-only, connection killed, idle too long; no connection, gone away, lost, and the like.
_MYSQL = {1021, 1040, 1041, 1053, 1114, 1205, 1213, 1290, 1836, 1927, 4031, 2002, 2003, 2006, 2013, 2055}
_LENGTH = 200  # of a reason, in characters
_PAUSES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts; the last one from then on
_SHORT = 5.0  # seconds that are waited for even when the time of the search is over


@sqlalchemy.event.listens_for(Engine, "handle_error")
def _tell(context: ExceptionContext) -> None:
    """Called by SQLAlchemy with every error of a database."""
    error = context.original_exception
    if context.is_pre_ping or context.dialect.name == "sqlite" or not isinstance(error, Exception):
        return
    connecting = context.connection is None
    if connecting or context.is_disconnect or says_away(error):
        url = str(context.engine.url) if context.engine is not None else "the database"
        raise away(without_password(url), first_line(error)) from error


def says_away(error: BaseException) -> bool:
    """Whether the server says by this error that the same may work later."""
    code = code_of(error)
    if isinstance(code, int):
        return code in _MYSQL
    return code in _POSTGRES or code.startswith(_POSTGRES_CLASSES)


def code_of(error: BaseException | None) -> str | int:
    """PostgreSQL's SQLSTATE or MySQL's number; empty where there is none."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        return str(state)
    first = error.args[0] if error is not None and error.args else None
    return first if isinstance(first, int) else ""


def first_line(error: BaseException | None) -> str:
    """What a driver says, on one line and without a password."""
    said = error.args[-1] if error is not None and error.args else error
    lines = [line for line in str(said).splitlines() if not line.startswith("\t")]  # what begins so are guesses
    text = without_password(" ".join(" ".join(lines).split())).rstrip(".")
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"


def away(url: str, reason: str) -> DatabaseAwayError:
    """The error for a person, with a hint by what the server said; it may say it in any language."""
    said = reason.lower()
    if any(words in said for words in ("password", "authentication", "access denied", "role ", "pg_hba")):
        hint = "look at user and password; PGPASSWORD or ~/.pgpass keep a password out of the URL."
    elif "does not exist" in said or "unknown database" in said:
        hint = "make the database (`createdb NAME`, or `CREATE DATABASE NAME`), or look at its name."
    elif any(words in said for words in ("host name", "name or service", "nodename", "resolution", "getaddrinfo")):
        hint = "look at the name of the host in the URL."
    else:
        hint = "see that the server runs, and that host and port are right, and run the same command again."
    return DatabaseAwayError(f"The database {url} cannot be used: {reason}.", hint=hint)


class Waiting:
    """Waits for a database that is away.

    Args:
        seconds: after which it gives up.
        deadline: `time.monotonic()` after which it gives up, too, or None.
        note: is told, on one line, that the database is away, and that it is back.
    """

    def __init__(self, seconds: float, deadline: float | None, note: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._deadline = deadline
        self._note = note
        self._gave_up = False

    def __call__(self, work: Callable[[], T], again: Callable[[], T] | None = None) -> T:
        """The result of `work`, once the database is there.

        Args:
            again: what is done after the first attempt, which may have done all its work before its answer was lost.

        Raises:
            DatabaseAwayError: it did not come back in time; or a search is being stopped, which does not wait.
        """
        stopping = isinstance(sys.exception(), KeyboardInterrupt | GeneratorExit | SystemExit)
        try:
            result = work()
        except DatabaseAwayError as error:
            if stopping or self._gave_up:
                raise
            result = self._when_back(again or work, error)
        self._gave_up = False
        return result

    def _when_back(self, work: Callable[[], T], error: DatabaseAwayError) -> T:
        began = time.monotonic()
        until = self._until(began)
        attempt, told = 0, False
        while True:
            time.sleep(max(0.0, min(_PAUSES[min(attempt, len(_PAUSES) - 1)], until - time.monotonic())))
            try:
                result = work()
            except DatabaseAwayError as again:
                if time.monotonic() >= until:
                    self._gave_up = True
                    raise _too_long(again, time.monotonic() - began) from error
            else:
                if told:
                    self._note(f"the database is back after {time.monotonic() - began:.0f} s, and the search goes on")
                return result
            attempt += 1
            if attempt >= 3 and not told:  # a connection that was cut, or a deadlock, is mended at once
                told = True
                self._note(f"{error.message} The search waits for it; what is trained is kept.")

    def _until(self, began: float) -> float:
        if self._deadline is None:
            return began + self._seconds
        return min(began + self._seconds, max(self._deadline, began + _SHORT))


def _too_long(error: DatabaseAwayError, seconds: float) -> DatabaseAwayError:
    return DatabaseAwayError(
        f"{error.message} The search has waited for {seconds:.0f} s.",
        hint="start the database and run the same command again: what is trained is kept.",
    )
