"""One driver per study of a database on a server, wherever the drivers run; and the storage that this one uses.

The file lock (`lock.py`) excludes two searches in one workspace. Two machines with a workspace each meet only in the
database: there the driver holds a lock for the study (PostgreSQL: an advisory lock; MySQL: GET_LOCK) that lives as long
as the connection that took it. All that a driver asks of the database goes through one connection, which takes the lock
before anything else: whatever it writes, it writes as the holder. A dead driver's connection is closed by its system at
once, and by the server within a minute when the whole machine is gone.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage

from automl_car.errors import MachineError, StudyError
from automl_car.search.batch import Writer
from automl_car.search.outage import Waiting
from automl_car.search.patient import PatientStorage
from automl_car.search.server import is_server, open_server
from automl_car.urls import without_password

_FIRST_SECONDS = 3.0  # a driver that was killed a moment ago may still be there
_AGAIN_SECONDS = 60.0  # so may our own former connection, until the server notices that it is broken

_held: dict[str, BaseStorage] = {}  # by URL: what this process uses while it searches


def held_storage(url: str) -> BaseStorage | None:
    """The storage of the search that this process runs in that database, if it runs one."""
    return _held.get(url)


@contextmanager
def held(url: str, study: str, waiting: Waiting) -> Iterator[None]:
    """Be the only driver of a study while the block runs; nothing happens for a SQLite file.

    Args:
        url: of the storage, as people write it.
        waiting: for the database while it is away.

    Raises:
        StudyError: another process holds the study.
        DatabaseAwayError: the server cannot be reached now.
    """
    if not is_server(url):
        yield
        return
    open_server(url, {}).engine.dispose()  # makes the tables, and sees to their version
    storage = open_server(
        url,
        {"pool_size": 1, "max_overflow": 0, "connect_args": {}},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )
    sqlalchemy.event.listen(storage.engine, "connect", _Lock(url, study, storage.engine.dialect.name).take)
    storage.engine.dispose()  # connections that were made before do not hold it
    try:
        storage.engine.connect().close()
        _held[url] = PatientStorage(storage, Writer(storage.engine), waiting)
        yield
    finally:
        _held.pop(url, None)
        _close(storage)


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


class _Lock:
    """Takes a study's lock on each new connection of one driver."""

    def __init__(self, url: str, study: str, dialect: str) -> None:
        self._name = f"study `{study}` in {without_password(url)}"
        self._key = hashlib.sha256(f"automl-car {study}".encode()).digest()
        self._driver = f"automl-car {uuid.uuid4().hex[:12]}"
        self._take_once = _take_postgres if dialect == "postgresql" else _take_mysql
        self._had = False

    def take(self, connection: Any, record: object) -> None:
        """Called by SQLAlchemy with each connection before it is used."""
        until = time.monotonic() + (_AGAIN_SECONDS if self._had else _FIRST_SECONDS)
        while not self._take_once(connection, self._key, self._driver):
            if time.monotonic() >= until:
                connection.close()
                raise self._refusal()
            time.sleep(0.1)
        self._had = True

    def _refusal(self) -> StudyError | MachineError:
        if not self._had:
            return StudyError(
                f"Another search is running on {self._name}.",
                hint="wait for it, or stop it; a search under another name (`--study NAME`) can run beside it.",
            )
        return MachineError(
            f"While the database was away, another search began on {self._name}.",
            hint="stop one of them; what is trained here is kept, and the same command goes on with it.",
        )


def _take_postgres(connection: Any, key: bytes, driver: str) -> bool:
    """Whether the lock is ours now; a former connection of ours is ended, as it may be half open."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('application_name', %s, false), set_config('tcp_keepalives_idle', '30', false), "
            "set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)",
            (driver,),
        )
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND pid <> pg_backend_pid() AND usename = current_user",
            (driver,),
        )
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (int.from_bytes(key[:8], signed=True),))
        (taken,) = cursor.fetchone()
    connection.commit()  # the lock is the connection's, not the transaction's
    return bool(taken)


def _take_mysql(connection: Any, key: bytes, driver: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION wait_timeout = 31536000")  # seconds: a fold may be longer than its 8 hours
        cursor.execute("SELECT GET_LOCK(CONCAT(MD5(DATABASE()), %s), 0)", (key.hex()[:32],))  # 64 letters at most
        (taken,) = cursor.fetchone()
    connection.commit()
    return bool(taken == 1)
