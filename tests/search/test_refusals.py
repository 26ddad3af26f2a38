"""A study's database on a full or read-only disk (rows 6 and 7 of the fault matrix)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from automl_car.errors import MachineError
from automl_car.search.refusals import as_refusal
from automl_car.search.study import connect, storage_url


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(study_name="main", storage=connect(storage_url(tmp_path, "main", None)))


def _fill(study: optuna.Study) -> None:
    for number in range(1000):
        study.set_user_attr(f"a{number}", "x" * 500)


def test_a_full_database_is_told_with_its_path_and_goes_on_when_there_is_space(
    study: optuna.Study, tmp_path: Path
) -> None:
    """SQLite's own limit of pages gives the very error of a full disk."""

    def limit(connection: Any, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    def small(connection: Any, record: object) -> None:
        limit(connection, 1)  # SQLite takes the number of pages that there are

    event.listen(Engine, "connect", small)
    try:
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
        with pytest.raises(MachineError) as caught:
            _fill(study)
    finally:
        event.remove(Engine, "connect", small)
    assert caught.value.message == f"The study `{tmp_path / 'main.db'}` cannot be written: database or disk is full."
    assert "free space" in (caught.value.hint or "")
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    study.set_user_attr("later", 1)
    assert study.user_attrs["later"] == 1


def test_a_database_in_no_folder_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "main.db").mkdir()
    with pytest.raises(MachineError, match=r"main.db` cannot be written: unable to open"):
        connect(storage_url(tmp_path, "main", None))


@pytest.mark.parametrize("statement", ["nonsense", "SELECT * FROM nowhere"])
def test_other_errors_of_sqlite_are_left_alone(statement: str) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute(statement)
    assert as_refusal(caught.value, Path("x")) is None
