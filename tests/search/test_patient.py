"""What a driver collects before it goes to a database on a server, and what it does when an answer is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from automl_car.errors import DatabaseAwayError
from automl_car.search import outage, patient
from automl_car.search.batch import Batch
from automl_car.search.ended import ended_trials
from automl_car.search.outage import Waiting
from automl_car.search.patient import PatientStorage, flush


@dataclass
class Database:
    """Stands for the server: keeps what arrives."""

    batches: list[Batch] = field(default_factory=list)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)  # by number
    loses_answers: int = 0
    is_away: int = 0

    def write(self, batch: Batch) -> None:
        self._go_away()
        self.batches.append(batch)

    def insert(self, study_id: int, number: int, trial: FrozenTrial) -> int:
        self._go_away()
        assert number not in self.trials
        self.trials[number] = trial
        if self.loses_answers:
            self.loses_answers -= 1
            raise DatabaseAwayError("the answer was lost")
        return 100 + number

    def find(self, study_id: int, number: int) -> int | None:
        return 100 + number if number in self.trials else None

    def _go_away(self) -> None:
        if self.is_away:
            self.is_away -= 1
            raise DatabaseAwayError("away")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(outage, "_PAUSES", (0.0,))
    return Database()


@pytest.fixture
def study(database: Database) -> optuna.Study:
    waiting = Waiting(60, None, lambda text: None)
    storage = PatientStorage(InMemoryStorage(), database, waiting)  # type: ignore[arg-type]
    made = optuna.create_study(storage=storage, study_name="main", sampler=optuna.samplers.RandomSampler(seed=0))
    database.batches.clear()
    return made


def written(database: Database, table: str) -> list[Any]:
    return [entry for batch in database.batches for entry in batch.entries.get(table, {})]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the seconds after which what was collected is written."""
    return lambda seconds: monkeypatch.setattr(patient, "_FLUSH_SECONDS", seconds)


def test_what_becomes_of_a_trial_goes_there_in_one_batch(
    study: optuna.Study, database: Database, slowly: Callable[[float], None]
) -> None:
    slowly(60)
    study.set_user_attr("who", "me")  # the first batch
    database.batches.clear()
    trial = study.ask()
    for step in range(3):
        trial.report(0.5, step)
    study.tell(trial, 0.5)
    study.ask()
    assert not database.batches
    flush(study)
    assert written(database, "intermediate_values") == [(100, 0), (100, 1), (100, 2)]
    assert [batch.states[100]["state"] for batch in database.batches] == [TrialState.COMPLETE]


def test_a_report_does_not_wait_for_longer_than_a_moment(
    study: optuna.Study, database: Database, slowly: Callable[[float], None]
) -> None:
    slowly(-1)
    study.ask().report(0.5, 0)
    assert written(database, "intermediate_values") == [(100, 0)]


def test_what_is_collected_is_written_when_somebody_asks_for_it(
    study: optuna.Study, database: Database, slowly: Callable[[float], None]
) -> None:
    slowly(60)
    study.ask().set_user_attr("who", "me")
    flush(study)
    assert written(database, "user_attrs") == [(100, "who")]
    count = len(database.batches)
    flush(study)
    assert len(database.batches) == count


def test_what_could_not_be_written_is_written_when_the_database_is_back(
    study: optuna.Study, database: Database, slowly: Callable[[float], None]
) -> None:
    slowly(60)
    study.ask().set_user_attr("who", "me")
    database.is_away = 2
    flush(study)
    assert written(database, "user_attrs") == [(100, "who")]


def test_a_trial_that_was_made_before_its_answer_was_lost_is_not_made_twice(
    study: optuna.Study, database: Database
) -> None:
    database.loses_answers = 1
    trial = study.ask()
    assert (trial.number, trial._trial_id) == (0, 100)
    assert set(database.trials) == {0}
    assert study.ask().number == 1


def test_a_waiting_trial_is_taken_once(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25})
    storage, (waiting,) = study._storage, study.get_trials()
    assert storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)
    assert not storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING)


def test_a_trial_that_has_ended_is_not_changed(study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def test_trials_are_given_out_by_their_states_in_the_order_of_their_numbers(study: optuna.Study) -> None:
    trials = [study.ask() for _ in range(4)]
    for number in (3, 0, 2):
        study.tell(trials[number], None if number == 2 else 0.5, state=TrialState.PRUNED if number == 2 else None)

    def numbers(*states: TrialState) -> list[int]:
        return [trial.number for trial in study.get_trials(states=states)]

    assert numbers(TrialState.COMPLETE, TrialState.PRUNED) == [0, 2, 3]
    assert numbers(TrialState.RUNNING) == [1]
    assert numbers(TrialState.COMPLETE) == [0, 3]
    assert numbers(TrialState.WAITING) == []


def test_trials_that_have_ended_are_counted_as_they_end(study: optuna.Study) -> None:
    storage: Any = study._storage
    assert storage.count_ended(study._study_id) == len(ended_trials(study)) == 0
    for state in (TrialState.PRUNED, TrialState.FAIL):
        trial = study.ask()
        assert storage.count_ended(study._study_id) == len(ended_trials(study)) == trial.number
        study.tell(trial, state=state)
    assert storage.count_ended(study._study_id) == len(ended_trials(study)) == 2
