"""Databases on a server, PostgreSQL and MySQL: the driver of a URL, and how a connection is made."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models

from automl_car.errors import ConfigError, DatabaseAwayError, StudyError
from automl_car.search import outage
from automl_car.urls import without_password

# By family: the extra that installs its driver, and module and SQLAlchemy's name of each driver, the extra's first.
_DRIVERS = {
    "postgresql": ("postgres", (("psycopg", "psycopg"), ("psycopg2", "psycopg2"))),
    "mysql": ("mysql", (("pymysql", "pymysql"), ("MySQLdb", "mysqldb"))),
}
_ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}  # other tools call them so
_EXAMPLES = "postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite:///FILE"

# A server that is there and does not answer is noticed after a minute, and so is, by the server, a driver whose machine
# is gone (`holding.py`).
_CONNECTING: Mapping[str, Mapping[str, Any]] = {
    "psycopg": {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    },
    "psycopg2": {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
    "pymysql": {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60},
    "mysqldb": {"connect_timeout": 10},
}
_TRIES = 3  # at making tables, which two processes that begin at once both do
_SAME_TABLES = {"42P07", "42710", "23505"}  # of PostgreSQL: it is there already


def is_server(url: str) -> bool:
    """Whether a storage URL names a database on a server, and not a file."""
    return not url.startswith("sqlite")


def with_driver(url: str) -> str:
    """The same URL with a driver that is installed.

    Raises:
        ConfigError: it is no URL of a database that studies can be in, or no driver is installed.
    """
    parsed = _parse(url)
    family, _, driver = parsed.drivername.partition("+")
    family = _ALIASES.get(family, family)
    if family not in _DRIVERS:
        raise ConfigError(
            f"`{without_password(url)}` names no kind of database that studies can be in.", hint=f"write {_EXAMPLES}."
        )
    if not parsed.database:
        raise ConfigError(f"`{without_password(url)}` names no database.", hint=f"write {_EXAMPLES}.")
    extra, known = _DRIVERS[family]
    installed = [name for module, name in known if find_spec(module) is not None]
    if driver not in installed if driver else not installed:
        raise ConfigError(
            f"`{without_password(url)}` needs a driver for {family} that is not installed, or that cannot be used.",
            hint=f'`pip install "automl-car[{extra}]"` installs {known[0][0]}.',
        )
    return parsed.set(drivername=f"{family}+{driver or installed[0]}").render_as_string(hide_password=False)


def open_server(url: str, engine: Mapping[str, Any], **options: Any) -> RDBStorage:
    """Connect, and make Optuna's tables where there are none.

    Args:
        url: as people write it.
        engine: arguments of SQLAlchemy's `create_engine`.
        options: other arguments of Optuna's storage.

    Raises:
        ConfigError: see `with_driver`.
        DatabaseAwayError: the server cannot be reached, or does not let us in.
        StudyError: the tables cannot be made, or were made by another version of Optuna.
    """
    full = with_driver(url)
    driver = full.partition("://")[0].partition("+")[2]
    arguments = {**engine, "connect_args": {**_CONNECTING.get(driver, {}), **engine.get("connect_args", {})}}
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of lost connections, which a search tells of itself
    plain = full.replace("{", "{{").replace("}", "}}")  # Optuna fills templates
    for left in reversed(range(_TRIES)):
        try:
            return RDBStorage(plain, engine_kwargs=arguments, **options)
        except sqlalchemy.exc.DBAPIError as error:
            if left and getattr(error.orig, "sqlstate", None) in _SAME_TABLES:
                continue
            raise _no_tables(url, error) from error
        except RuntimeError as error:  # of Optuna
            told = str(error).partition("Please")[0].strip()
            raise StudyError(
                f"`{without_password(url)}` is of another version of Optuna: {told}",
                hint="use another database, or bring this one up to date with `optuna storage upgrade`.",
            ) from error
    raise AssertionError("the last try returns or raises")


def _parse(url: str) -> sqlalchemy.URL:
    login = re.match(r"[^/]*://([^/?]*)", url)
    if login and login[1].count("@") > 1:
        raise ConfigError(
            f"`{without_password(url)}` cannot be read, as it holds more than one `@`.",
            hint="write the `@` of a user or a password as %40; better, leave the password to PGPASSWORD or ~/.pgpass.",
        )
    try:
        return sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(f"`{without_password(url)}` is no URL of a database.", hint=f"write {_EXAMPLES}.") from None


def _no_tables(url: str, error: sqlalchemy.exc.DBAPIError) -> StudyError | DatabaseAwayError:
    if outage.code_of(error.orig) == "42501":  # insufficient privilege
        hint = "let its owner run `GRANT ALL ON SCHEMA public TO USER`, or make the database with `createdb -O USER`."
    else:
        hint = "look at the rights of the user in that database."
    return StudyError(f"`{without_password(url)}` cannot hold studies: {outage.first_line(error.orig)}.", hint=hint)


# ---- reading --------------------------------------------------------------------------------------------------------


def names_in(storage: BaseStorage) -> list[str]:
    """Names of all Optuna studies; on a server without their attributes, which Optuna would read as well."""
    if not isinstance(storage, RDBStorage) or storage.engine.name == "sqlite":
        return optuna.get_all_study_names(storage)
    wanted = sqlalchemy.select(models.StudyModel.study_name).order_by(models.StudyModel.study_id)
    with storage.engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


_reading: dict[str, RDBStorage] = {}  # by URL: what is read again and again in one process is connected to once


def read_server(url: str) -> RDBStorage:
    """The storage of a database that this process reads; the same one each time."""
    if url not in _reading:
        _reading[url] = open_server(url, {"pool_pre_ping": True})
    return _reading[url]


def close_servers() -> None:
    """Close the connections of `read_server`, as the end of the process does."""
    while _reading:
        _, storage = _reading.popitem()
        storage.remove_session()
        storage.engine.dispose()
