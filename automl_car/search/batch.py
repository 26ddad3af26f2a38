"""Attributes, parameters and values of steps that go to the database together: one transaction in place of dozens.

Each entry may be written twice and is the same as once, so a batch whose answer was lost is written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
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
}


@dataclass
class Batch:
    """Entries that wait to be written, by table and name; a later one of the same name replaces it."""

    entries: dict[str, dict[tuple[int, Any], tuple[Any, ...]]] = field(default_factory=dict)

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

    def _put(self, table: str, owner: int, key: Any, *values: Any) -> None:
        self.entries.setdefault(table, {})[owner, key] = values


def write(engine: sqlalchemy.Engine, batch: Batch) -> None:
    """Write all entries in one transaction.

    Raises:
        DatabaseAwayError: the database is away; all or nothing was written.
    """
    with engine.begin() as connection:
        for table, entries in batch.entries.items():
            model, names, values = _TABLES[table]
            rows = [dict(zip((*names, *values), (*name, *value), strict=True)) for name, value in entries.items()]
            connection.execute(_upsert(engine.dialect.name, model.__table__, names, values), rows)


def _upsert(dialect: str, table: Any, names: tuple[str, ...], values: tuple[str, ...]) -> Any:
    if dialect == "postgresql":
        insert = postgresql.insert(table)
        return insert.on_conflict_do_update(index_elements=list(names), set_=_new(insert.excluded, values))
    insert_mysql = mysql.insert(table)
    return insert_mysql.on_duplicate_key_update(**_new(insert_mysql.inserted, values))


def _new(columns: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    return {name: columns[name] for name in names}
