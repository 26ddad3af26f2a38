"""What a search does while its database is away, without a database: a storage that loses answers stands for it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import json_to_distribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import DatabaseAwayError
from automl_car.search import driver, outage
from automl_car.search.batch import Batch
from automl_car.search.outage import Waiting, away, says_away
from automl_car.search.patient import PatientStorage
from automl_car.urls import without_password

Desk = Any  # see conftest.py
WRITES = [name for name in PatientStorage.__dict__ if name.startswith(("set_", "create_", "delete_"))]
READS = [name for name in PatientStorage.__dict__ if name.startswith("get_")]


class Losing:
    """A storage in memory that loses calls: before they are done, or after, so that only the answer is lost."""

    def __init__(self, *, done: bool) -> None:
        self._storage = InMemoryStorage()
        self._done = done
        self._random = random.Random(0)
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if name not in (*WRITES, *READS):
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            if self._random.random() < 0.6:
                return method(*arguments, **options)
            self.lost += 1
            if self._done:
                method(*arguments, **options)
            raise away("postgresql://db/cars", "the connection was lost")

        return call

    def write(self, batch: Batch) -> None:
        """What a batch says, one by one; of all calls, the last answer may be lost."""
        self._write(batch)
        self.get_all_studies()

    def insert(self, study_id: int, number: int, trial: FrozenTrial) -> int:
        return int(self.create_new_trial(study_id, trial))

    def find(self, study_id: int, number: int) -> int | None:
        return next((one._trial_id for one in self.get_all_trials(study_id) if one.number == number), None)

    def _write(self, batch: Batch) -> None:
        for table, entries in batch.entries.items():
            for (owner, key), values in entries.items():
                self._write_entry(table, owner, key, values)
        for trial_id, state in batch.states.items():
            value = batch.entries.get("values", {}).get((trial_id, 0))
            if not self._storage.get_trial(trial_id).state.is_finished():
                self._storage.set_trial_state_values(trial_id, state["state"], None if value is None else [value[0]])

    def _write_entry(self, table: str, owner: int, key: Any, values: tuple[Any, ...]) -> None:
        if table == "values" or (not table.startswith("study") and self._storage.get_trial(owner).state.is_finished()):
            return
        if table == "params":
            self._storage.set_trial_param(owner, key, values[0], json_to_distribution(values[1]))
        elif table == "intermediate_values":
            self._storage.set_trial_intermediate_value(owner, key, values[0])
        else:
            name = {"user_attrs": "trial_user_attr", "system_attrs": "trial_system_attr"}.get(table, table[:-1])
            getattr(self._storage, f"set_{name}")(owner, key, json.loads(values[0]))


def patient(losing: Losing) -> PatientStorage:
    return PatientStorage(losing, losing, _waiting())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_PAUSES", (0.0, 0.001))


def _waiting(seconds: float = 5.0, note: Callable[[str], None] = lambda text: None) -> Waiting:
    return Waiting(seconds, None, note)


def _told(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs)
        for trial in trials
    ]


# ---- repeating ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [False, True], ids=["before it is done", "after it is done"])
def test_a_search_whose_calls_are_lost_again_and_again_comes_to_the_same(
    desk: Desk, done: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    undisturbed = _told(desk.go(24))
    losing = Losing(done=done)
    monkeypatch.setattr(driver, "RECORD_SECONDS", -1)  # folds take no time here: each change is written
    monkeypatch.setattr("automl_car.search.opening._connect_whole", lambda *rest: patient(losing))
    other = type(desk)(tmp_path / "other")
    assert _told(other.go(24)) == undisturbed
    assert losing.lost > 50


def test_a_trial_that_was_told_before_the_answer_was_lost_is_told_once() -> None:
    losing = Losing(done=True)
    study = optuna.create_study(study_name="main", storage=patient(losing))
    trial = study.ask()
    study.tell(trial, 0.5)
    assert [(one.state, one.value) for one in study.trials] == [(TrialState.COMPLETE, 0.5)]


# ---- waiting --------------------------------------------------------------------------------------------------------


def _failing(times: int) -> Callable[[], str]:
    left = [times]

    def work() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise away("postgresql://db/cars", "connection refused")
        return "done"

    return work


def test_a_person_is_told_once_that_the_database_is_away_and_once_that_it_is_back() -> None:
    notes: list[str] = []
    assert _waiting(note=notes.append)(_failing(20)) == "done"
    assert [note.partition(" after ")[0] for note in notes] == [
        "The database postgresql://db/cars cannot be used: connection refused. The search waits for it; what is "
        "trained is kept.",
        "the database is back",
    ]


def test_a_cut_connection_or_a_deadlock_is_not_worth_a_word() -> None:
    notes: list[str] = []
    assert _waiting(note=notes.append)(_failing(2)) == "done"
    assert notes == []


def test_after_the_limit_it_gives_up_and_then_no_call_waits_any_more() -> None:
    waiting = _waiting(0.1)
    with pytest.raises(DatabaseAwayError, match="has waited for 0 s"):
        waiting(_failing(10**6))
    began = time.monotonic()
    with pytest.raises(DatabaseAwayError):
        waiting(_failing(10**6))
    assert time.monotonic() - began < 0.05
    assert waiting(_failing(0)) == "done"
    assert waiting(_failing(5)) == "done"  # it was there again, and is waited for again


def test_the_time_limit_of_the_search_ends_the_waiting_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_SHORT", 0.1)
    with pytest.raises(DatabaseAwayError):
        Waiting(3600, time.monotonic() - 1, lambda text: None)(_failing(10**6))


def test_a_search_that_is_stopped_does_not_wait() -> None:
    began = time.monotonic()
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(DatabaseAwayError):
            _waiting(60)(_failing(10**6))
    assert time.monotonic() - began < 1


# ---- what is an outage ----------------------------------------------------------------------------------------------


class _Said(Exception):
    def __init__(self, code: str | int) -> None:
        super().__init__(code, "told")
        self.sqlstate = code if isinstance(code, str) else None


@pytest.mark.parametrize("code", ["57P01", "57P03", "40001", "40P01", "53300", "08006", "25006", 2006, 2013, 1213])
def test_what_time_mends_is_waited_for(code: str | int) -> None:
    assert says_away(_Said(code))


@pytest.mark.parametrize("code", ["23505", "42P01", "42501", "22001", "", 1062, 1064])
def test_what_time_does_not_mend_is_an_error(code: str | int) -> None:
    assert not says_away(_Said(code))


# ---- passwords ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db/cars", "postgresql://ann:***@db/cars"),
        ("postgresql+psycopg://ann:s/e@c%40ret@db/cars", "postgresql+psycopg://ann:***@db/cars"),
        ("mysql://:secret@db/cars", "mysql://:***@db/cars"),
        ("postgresql://db/cars?user=ann&password=secret&sslmode=require",
         "postgresql://db/cars?user=ann&password=***&sslmode=require"),
        ("postgresql://ann@db/cars?sslpassword=secret", "postgresql://ann@db/cars?sslpassword=***"),
        ("postgresql://ann@db:5432/cars", "postgresql://ann@db:5432/cars"),
        ("sqlite:////home/ann:b/main.db", "sqlite:////home/ann:b/main.db"),
        ("see postgresql://ann:secret@db/cars, and mysql://b:secret@c/d", None),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str | None) -> None:
    assert "secret" not in without_password(url)
    assert shown is None or without_password(url) == shown
