"""What is written of trials goes to the database together: one transaction in place of dozens.

Each entry may be written twice and is the same as once, so a batch whose answer was lost is written again. Only a new
trial may not, and is looked for before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import mysql, postgresql

# Optuna's tables, by what is written: the columns that name an entry, and those that hold it.
_TABLES: Mapping[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "study_user_attrs": (models.StudyUserAttributeModel, ("study_id", "key"), ("value_json",)),
    "study_system_attrs": (models.StudySystemAttributeModel, ("study_id", "key"), ("value_json",)),
    "user_attrs": (models.TrialUserAttributeModel, ("trial_id", "key"), ("value_json",)),
    "system_attrs": (models.TrialSystemAttributeModel, ("trial_id", "key"), ("value_json",)),
    "params": (models.TrialParamModel, ("trial_id", "param_name"), ("param_value", "distribution_json")),
    "intermediate_values": (
        models.TrialIntermediateValueModel,
        ("trial_id", "step"),
        ("intermediate_value", "intermediate_value_type"),
    ),
    "values": (models.TrialValueModel, ("trial_id", "objective"), ("value", "value_type")),
}
_TRIALS: Any = models.TrialModel.__table__


@dataclass
class Batch:
    """Entries that wait to be written, by table and name; a later one of the same name replaces it.

    Attributes:
        states: of trials by id, with the times at which they began and ended.
    """

    entries: dict[str, dict[tuple[int, Any], tuple[Any, ...]]] = field(default_factory=dict)
    states: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.entries or self.states)

    def attribute(self, table: str, owner: int, key: str, value: Any) -> None:
        """Of a study or a trial."""
        self._put(table, owner, key, json.dumps(value))

    def parameter(self, trial_id: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """With its value as Optuna's databases have it."""
        self._put("params", trial_id, name, value, distribution_to_json(distribution))

    def step(self, trial_id: int, step: int, value: float) -> None:
        """What a trial reported."""
        stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        self._put("intermediate_values", trial_id, step, *stored)

    def state(self, trial_id: int, trial: FrozenTrial) -> None:
        """That a trial has, and its values."""
        self.states[trial_id] = _state(trial)
        for objective, value in enumerate(trial.values or ()):
            self._put("values", trial_id, objective, *models.TrialValueModel.value_to_stored_repr(value))

    def trial(self, trial_id: int, trial: FrozenTrial) -> None:
        """All that there is of it, but for its state, which is written with its row."""
        for objective, value in enumerate(trial.values or ()):
            self._put("values", trial_id, objective, *models.TrialValueModel.value_to_stored_repr(value))
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            self.parameter(trial_id, name, distribution.to_internal_repr(value), distribution)
        for table in ("user_attrs", "system_attrs"):
            for key, value in getattr(trial, table).items():
                self.attribute(table, trial_id, key, value)
        for step, value in trial.intermediate_values.items():
            self.step(trial_id, step, value)

    def _put(self, table: str, owner: int, key: Any, *values: Any) -> None:
        self.entries.setdefault(table, {})[owner, key] = values


class Writer:
    """Writes what one driver has to say, each time in one transaction.

    All methods raise DatabaseAwayError when the database is away; all or nothing was written then.
    """

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine

    def write(self, batch: Batch) -> None:
        """Write all entries."""
        with self._engine.begin() as connection:
            _write(connection, batch)

    def insert(self, study_id: int, number: int, trial: FrozenTrial) -> int:
        """Write a new trial, with all that there is of it; returns the id that it was given."""
        with self._engine.begin() as connection:
            row = {"study_id": study_id, "number": number, **_state(trial)}
            key = connection.execute(sqlalchemy.insert(_TRIALS).values(row)).inserted_primary_key
            assert key is not None  # this table has one
            trial_id = int(key[0])
            (own := Batch()).trial(trial_id, trial)
            _write(connection, own)
        return trial_id

    def find(self, study_id: int, number: int) -> int | None:
        """The id of a trial that may be there."""
        wanted = sqlalchemy.select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id, _TRIALS.c.number == number)
        with self._engine.connect() as connection:
            return connection.execute(wanted).scalar()


def _write(connection: sqlalchemy.Connection, batch: Batch) -> None:
    if batch.states:
        rows = [{"trial": trial_id, **state} for trial_id, state in batch.states.items()]
        connection.execute(_UPDATE, rows)
    for table, entries in batch.entries.items():
        _, names, values = _TABLES[table]
        columns = (*names, *values)
        rows = [dict(zip(columns, (*name, *value), strict=True)) for name, value in entries.items()]
        connection.execute(_upsert(connection.dialect.name, table), rows)


_TIMES = ("datetime_start", "datetime_complete")
_UPDATE = (
    sqlalchemy.update(_TRIALS)
    .where(_TRIALS.c.trial_id == sqlalchemy.bindparam("trial"))
    .values({name: sqlalchemy.bindparam(name) for name in ("state", *_TIMES)})
)


def _state(trial: FrozenTrial) -> dict[str, Any]:
    """The state and times of a trial as Optuna's table has them: UTC, without saying so."""
    return {"state": trial.state, **{name: _utc(getattr(trial, name)) for name in _TIMES}}


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment else None


@lru_cache
def _upsert(dialect: str, name: str) -> Any:
    model, names, values = _TABLES[name]
    if dialect == "postgresql":
        insert = postgresql.insert(model.__table__)
        return insert.on_conflict_do_update(index_elements=list(names), set_=_new(insert.excluded, values))
    insert_mysql = mysql.insert(model.__table__)
    return insert_mysql.on_duplicate_key_update(**_new(insert_mysql.inserted, values))


def _new(columns: Any, names: Sequence[str]) -> Mapping[str, Any]:
    return {name: columns[name] for name in names}
